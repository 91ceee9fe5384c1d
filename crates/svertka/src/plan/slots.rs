//! Memory for values that do not all live at once.

/// Slots while memory is assigned.
#[derive(Default)]
pub(super) struct Slots {
    /// Elements of each.
    pub(super) lens: Vec<usize>,
    free: Vec<usize>,
}

impl Slots {
    /// The smallest free slot that holds `len`; else the largest free one, enlarged; else a new one. `alone` asks for a new one.
    pub(super) fn take(&mut self, len: usize, alone: bool) -> usize {
        let lens = &self.lens;
        let fits = self
            .free
            .iter()
            .copied()
            .filter(|&slot| lens[slot] >= len)
            .min_by_key(|&slot| (lens[slot], slot));
        let chosen = fits.or_else(|| self.free.iter().copied().max_by_key(|&slot| (lens[slot], slot)));
        match chosen {
            Some(slot) if !alone => {
                self.free.retain(|&free| free != slot);
                self.lens[slot] = self.lens[slot].max(len);
                slot
            }
            _ => {
                self.lens.push(len);
                self.lens.len() - 1
            }
        }
    }

    pub(super) fn free(&mut self, slot: usize) {
        self.free.push(slot);
    }
}
