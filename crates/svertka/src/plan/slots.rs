//! Memory for values that do not all live at once.
//!
//! All lives are known before any value gets its memory. So the largest values come first, each to the smallest slot that is free for as long as it
//! lives, or to a new one (*greedy by size* of Pisarchyk and Lee, 2020, *Efficient Memory Management for Deep Neural Net Inference*): a small value
//! that lives long, such as a weight's gradient, then keeps no large slot from later values.

/// Slots, which until [`Slots::settle`] are as many as there are values.
#[derive(Default)]
pub(super) struct Slots {
    /// Elements of each.
    pub(super) lens: Vec<usize>,
    /// Who takes each, until then.
    lives: Vec<Life>,
    /// Comings and goings so far.
    now: usize,
}

#[derive(Clone, Copy)]
struct Life {
    from: usize,
    until: usize,
    /// Whether it shares memory with nobody.
    alone: bool,
}

impl Slots {
    /// Memory for a value of `len` elements; `alone` asks for memory that no other value has.
    pub(super) fn take(&mut self, len: usize, alone: bool) -> usize {
        self.now += 1;
        self.lens.push(len);
        self.lives.push(Life { from: self.now, until: usize::MAX, alone });
        self.lens.len() - 1
    }

    /// The value is not read any more; one that is never freed stays.
    pub(super) fn free(&mut self, slot: usize) {
        self.now += 1;
        self.lives[slot].until = self.now;
    }

    /// Makes few slots of many; the new number of each.
    pub(super) fn settle(&mut self) -> Vec<usize> {
        let (values, lives) = (std::mem::take(&mut self.lens), std::mem::take(&mut self.lives));
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_key(|&value| std::cmp::Reverse(values[value]));
        let (mut slot_of, mut tenants) = (vec![0; values.len()], Vec::<Vec<Life>>::new());
        for value in order {
            let life = lives[value];
            // Slots are made from large to small, so the last that is free is the smallest.
            let free = tenants.iter().rposition(|tenants| tenants.iter().all(|other| life.shares(other)));
            let slot = free.unwrap_or_else(|| {
                self.lens.push(values[value]);
                tenants.push(vec![]);
                tenants.len() - 1
            });
            tenants[slot].push(life);
            slot_of[value] = slot;
        }
        slot_of
    }
}

impl Life {
    /// Whether both may have the same memory.
    fn shares(&self, other: &Self) -> bool {
        !self.alone && !other.alone && (self.until <= other.from || other.until <= self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_value_that_stays_takes_no_large_slot() {
        let mut slots = Slots::default();
        let large = slots.take(100, false);
        slots.free(large);
        let kept = slots.take(3, false);
        let again = slots.take(90, false);
        let constant = slots.take(1, true);
        slots.free(again);
        let last = slots.take(40, false);
        let slot_of = slots.settle();
        assert_eq!(slots.lens, [100, 3, 1]);
        assert_eq!([large, kept, again, constant, last].map(|value| slot_of[value]), [0, 1, 0, 2, 0]);
    }
}
