//! Class folders: the name of a folder is the class of the pictures in it and below it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use svertka_formats::Limits;
use svertka_formats::picture::{self, EXTENSIONS, Picture};

use super::cache::{Cache, CacheUse, Decoded};
use super::dataset::{OpenOptions, Parts, Skipped};
use super::split::{Names, Pixels, Store, digest};
use super::{Preprocessing, parallel};
use crate::error::{Error, Result};

/// How many training pictures size and colours are chosen by, at most.
const PROBE: usize = 1_000;

/// Longest side of pictures, if it is chosen and not given.
const MAX_CHOSEN_SIDE: usize = 224;

/// Pictures of at most this side keep their very size, where all have the same.
const MAX_KEPT_SIDE: usize = 64;

/// A folder and what was found in it.
struct Class {
    name: String,
    /// Relative to the root of the data set, sorted.
    files: Vec<PathBuf>,
    /// Number of files that do not end as pictures do.
    others: usize,
}

/// Pictures of one part of the set, by class.
struct Part {
    /// Path from the root; empty where the class folders stand in the root.
    folder: &'static str,
    classes: Vec<Class>,
}

/// Reads a file as [`picture::decode`] does.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_picture(path: &Path) -> Result<Picture> {
    let limits = Limits::default();
    let size = fs::metadata(path).map_err(Error::io(path))?.len();
    if size > limits.picture_bytes {
        let expected = format!("at most {} bytes", limits.picture_bytes);
        return Err(Error::argument(path.display().to_string(), "file", expected, size));
    }
    let bytes = fs::read(path).map_err(Error::io(path))?;
    picture::decode(&bytes, &limits).map_err(Error::format(path))
}

/// The set of class folders at `root`, or below its `train`; `None` where there are none.
pub(super) fn open(root: &Path, options: &OpenOptions) -> Result<Option<Parts>> {
    let mut train = Part::list(root, "train")?;
    let (mut val, mut test) = (None, None);
    if train.classes.is_empty() {
        train = Part::list(root, "")?;
    } else {
        let first_of = |names: &[&'static str]| {
            names.iter().find(|name| root.join(name).is_dir()).map(|name| Part::list(root, name)).transpose()
        };
        (val, test) = (first_of(&["val", "valid", "validation"])?, first_of(&["test"])?);
    }
    if train.classes.is_empty() {
        return Ok(None);
    }
    let classes: Vec<String> = train.classes.iter().map(|class| class.name.clone()).collect();
    for part in [&val, &test].into_iter().flatten() {
        if let Some(class) = part.classes.iter().find(|class| classes.binary_search(&class.name).is_err()) {
            let expected = format!("one of the classes in train: {}", classes.join(", "));
            return Err(Error::argument(shown(root, part.folder), "class folder", expected, &class.name));
        }
    }

    let parts = [Some(&train), val.as_ref(), test.as_ref()];
    let list: Vec<&PathBuf> = parts.into_iter().flatten().flat_map(Part::files).collect();
    let total = list.len();
    let cache = options.cache.as_ref().map(|folder| Cache::open(folder, root, &list, options.threads));
    let mut files = Files { root, list, cache, decoded: AtomicUsize::new(0) };
    let frame = choose_frame(&files, train.files().count(), options)?;
    let in_memory = frame.len().saturating_mul(total) <= options.memory_limit;
    let complete = files.cache.as_mut().is_some_and(|cache| cache.is_complete(&frame));
    let load = Load {
        files,
        classes: &classes,
        frame,
        in_memory,
        complete,
        options,
        done: AtomicUsize::new(0),
        reused: AtomicUsize::new(0),
    };
    let (mut skipped, mut outcomes) = (Vec::new(), Vec::new());
    let mut train_store = load.part(&train, &mut skipped, &mut outcomes);
    load.require_every_class(&train, &train_store, &skipped)?;
    let mut load_part =
        |part: &Option<Part>| part.as_ref().map(|part| load.part(part, &mut skipped, &mut outcomes));
    let (mut val, mut test) = (load_part(&val), load_part(&test));
    let stores = [Some(&mut train_store), val.as_mut(), test.as_mut()];
    let cache = load.keep(outcomes, stores.into_iter().flatten());

    if skipped.len() as f64 > options.max_skipped_fraction * total as f64 {
        let first: Vec<String> = skipped.iter().take(3).map(ToString::to_string).collect();
        let expected = format!("at most {} of {total} unreadable", options.max_skipped_fraction);
        let received = format!("{}: {}", skipped.len(), first.join("; "));
        return Err(Error::argument(shown(root, ""), "pictures", expected, received));
    }
    Ok(Some(Parts { classes, train: train_store, val, test, skipped, cache }))
}

impl Part {
    /// The class folders of `folder`, sorted by name; none where there is no such folder. Hidden ones are not seen.
    fn list(root: &Path, folder: &'static str) -> Result<Self> {
        let within = root.join(folder);
        let mut classes = Vec::new();
        if !within.is_dir() {
            return Ok(Self { folder, classes });
        }
        // A link to a folder that holds the link would make every class contain all others.
        let canonical = fs::canonicalize(&within).map_err(Error::io(&within))?;
        for name in visible(&within)? {
            if !within.join(&name).is_dir() {
                continue;
            }
            let mut seen: BTreeSet<PathBuf> = canonical.ancestors().map(Path::to_path_buf).collect();
            let mut class = Class { name: name.display().to_string(), files: vec![], others: 0 };
            if class.collect(root, &Path::new(folder).join(name), &mut seen)? {
                classes.push(class);
            }
        }
        classes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { folder, classes })
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.classes.iter().flat_map(|class| &class.files)
    }
}

impl Class {
    /// Adds what is in `folder` and below it. Each folder is `seen` once, so that links in circles end; the answer
    /// is whether this one was new.
    fn collect(&mut self, root: &Path, folder: &Path, seen: &mut BTreeSet<PathBuf>) -> Result<bool> {
        let path = root.join(folder);
        if !seen.insert(fs::canonicalize(&path).map_err(Error::io(&path))?) {
            return Ok(false);
        }
        for name in visible(&path)? {
            let entry = folder.join(name);
            // A link to nowhere is listed by its name; reading it will say what is wrong.
            let kind = fs::metadata(root.join(&entry)).map(|metadata| metadata.file_type());
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                self.collect(root, &entry, seen)?;
            } else if is_picture_name(&entry) && kind.map_or(true, |kind| kind.is_file()) {
                self.files.push(entry);
            } else {
                self.others += 1;
            }
        }
        Ok(true)
    }
}

/// Names in a folder, sorted, without hidden ones.
pub(super) fn visible(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::io(folder))?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(PathBuf::from(name));
        }
    }
    names.sort();
    Ok(names)
}

fn is_picture_name(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| EXTENSIONS.contains(&&*ending))
}

/// Size and colours that were asked for; else as [`Dataset::open`](super::Dataset::open) says.
fn choose_frame(files: &Files<'_>, train: usize, options: &OpenOptions) -> Result<Preprocessing> {
    if let (Some((height, width)), Some(channels)) = (options.size, options.channels) {
        return Preprocessing::new(channels, height, width, options.resize);
    }
    let probed = (0..train).step_by(train.div_ceil(PROBE).max(1));
    let found = parallel::map(probed, options.threads, |item| match files.known(item) {
        Some(outcome) => outcome.ok().map(|decoded| decoded.native),
        None => files.decode(item).ok().map(|picture| native(&picture)),
    });
    let found: Vec<_> = found.into_iter().flatten().collect();
    let (height, width) = options.size.unwrap_or_else(|| {
        let mut sides: Vec<usize> = found.iter().map(|&(height, width, _)| height.min(width)).collect();
        sides.sort_unstable();
        let median = sides.get(sides.len() / 2).copied().unwrap_or_default();
        let side = (median.min(MAX_CHOSEN_SIDE) + 4) / 8 * 8;
        match found.first() {
            Some(&(height, width, _))
                if height.max(width) <= MAX_KEPT_SIDE
                    && found.iter().all(|other| (other.0, other.1) == (height, width)) =>
            {
                (height, width)
            }
            _ => (side.max(16), side.max(16)),
        }
    });
    let grey = !found.is_empty() && found.iter().all(|&(_, _, channels)| channels == 1);
    Preprocessing::new(options.channels.unwrap_or(if grey { 1 } else { 3 }), height, width, options.resize)
}

/// All files of a set, in the order of train, val, test.
struct Files<'a> {
    root: &'a Path,
    list: Vec<&'a PathBuf>,
    cache: Option<Cache>,
    /// How many times a file was decoded.
    decoded: AtomicUsize,
}

impl Files<'_> {
    /// What the cache knows of file `item`.
    fn known(&self, item: usize) -> Option<Result<Decoded, String>> {
        self.cache.as_ref()?.outcome(item)
    }

    fn decode(&self, item: usize) -> Result<Picture> {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        read_picture(&self.root.join(self.list[item]))
    }
}

fn native(picture: &Picture) -> (usize, usize, usize) {
    (picture.height, picture.width, picture.channels)
}

/// What reading the parts of a set has in common.
struct Load<'a> {
    files: Files<'a>,
    classes: &'a [String],
    frame: Preprocessing,
    /// Whether all fitted pictures are small enough to be kept there.
    in_memory: bool,
    /// Whether the cache has everything.
    complete: bool,
    options: &'a OpenOptions<'a>,
    /// Files read so far.
    done: AtomicUsize,
    /// Those of them that the cache had.
    reused: AtomicUsize,
}

impl Load<'_> {
    /// Reads every picture once, whether it is kept or not: what cannot be read is found before training starts. `outcomes` are those of
    /// the parts before, and then those of this one too.
    fn part(
        &self,
        part: &Part,
        skipped: &mut Vec<Skipped>,
        outcomes: &mut Vec<Result<Decoded, String>>,
    ) -> Store {
        let (len, first, count) = (self.frame.len(), outcomes.len(), part.files().count());
        let held = self.in_memory && !self.complete;
        let mut bytes = vec![0; if held { count * len } else { 0 }];
        let mut places = bytes.chunks_exact_mut(len);
        let items = (first..first + count).map(|item| (item, places.next()));
        outcomes.extend(parallel::map(items, self.options.threads, |(item, place)| {
            let outcome = self.picture(item, place);
            (self.options.progress)(self.done.fetch_add(1, Ordering::Relaxed) + 1, self.files.list.len());
            outcome
        }));

        let mut store = Store {
            names: Names::Files { root: self.files.root.to_path_buf(), paths: vec![] },
            labels: vec![],
            digests: vec![],
            pixels: Pixels::OnDisk,
            frame: self.frame.clone(),
            sampled: !self.in_memory,
        };
        let mut paths = Vec::new();
        let files = part.classes.iter().flat_map(|class| class.files.iter().map(|file| (&class.name, file)));
        for (index, ((class, file), outcome)) in files.zip(&outcomes[first..]).enumerate() {
            match outcome {
                Ok(decoded) => {
                    if held {
                        bytes.copy_within(index * len..(index + 1) * len, paths.len() * len);
                    }
                    let label =
                        self.classes.binary_search(class).expect("classes of all parts were compared");
                    store.labels.push(label as u32);
                    store.digests.push(decoded.digest);
                    paths.push(file.clone());
                }
                Err(reason) => {
                    skipped.push(Skipped { path: self.files.root.join(file), reason: reason.clone() });
                }
            }
        }
        if held {
            bytes.truncate(paths.len() * len);
            store.pixels = Pixels::Fitted(bytes);
        }
        store.names = Names::Files { root: self.files.root.to_path_buf(), paths };
        store
    }

    /// Takes a picture from the cache, or decodes it; puts its bytes in `place` and into a new cache, if there are such.
    fn picture(&self, item: usize, place: Option<&mut [u8]>) -> Result<Decoded, String> {
        let known = self.files.known(item).transpose()?;
        if let (true, Some(decoded)) = (self.complete, known) {
            self.reused.fetch_add(1, Ordering::Relaxed);
            return Ok(decoded);
        }
        let cache = self.files.cache.as_ref();
        let kept =
            cache.zip(known).and_then(|(cache, known)| Some((known, cache.pixels(item, known.digest)?)));
        let (decoded, pixels) = match kept {
            Some(kept) => {
                self.reused.fetch_add(1, Ordering::Relaxed);
                kept
            }
            None => self.decode(item).map_err(|error| match error {
                Error::Format { reason, .. } => reason.to_string(),
                Error::Io { reason, .. } => reason.to_string(),
                error => error.to_string(),
            })?,
        };
        if let Some(place) = place {
            place.copy_from_slice(&pixels);
        }
        if let Some(cache) = cache {
            cache.write(item, &pixels);
        }
        Ok(decoded)
    }

    fn decode(&self, item: usize) -> Result<(Decoded, Vec<u8>)> {
        let picture = self.files.decode(item)?;
        let native = native(&picture);
        let pixels = self.frame.fit(picture)?.data;
        Ok((Decoded { native, digest: digest(&pixels) }, pixels))
    }

    /// Ends the cache; `stores`, one after another, then have their pictures there.
    fn keep<'s>(
        self,
        outcomes: Vec<Result<Decoded, String>>,
        stores: impl Iterator<Item = &'s mut Store>,
    ) -> Option<CacheUse> {
        let Files { cache, decoded, .. } = self.files;
        let readable = (0..outcomes.len()).filter(|&item| outcomes[item].is_ok());
        let mut readable = readable.collect::<Vec<_>>().into_iter();
        let (path, pictures) = cache?.finish(&self.frame, outcomes);
        let (problem, kept) = match pictures {
            Ok(pictures) => (None, Some(pictures)),
            Err(error) => (Some(error.to_string()), None),
        };
        if let Some(pictures) = kept {
            for store in stores {
                let places = readable.by_ref().take(store.labels.len()).collect();
                store.pixels = Pixels::Cached(pictures.clone(), places);
            }
        }
        Some(CacheUse { path, reused: self.reused.into_inner(), decoded: decoded.into_inner(), problem })
    }

    fn require_every_class(&self, train: &Part, store: &Store, skipped: &[Skipped]) -> Result<()> {
        let present: BTreeSet<u32> = store.labels.iter().copied().collect();
        let Some((_, class)) = (0..).zip(&train.classes).find(|(label, _)| !present.contains(label)) else {
            return Ok(());
        };
        let folder = self.files.root.join(train.folder).join(&class.name);
        let received = match class.files.first() {
            None if class.others == 0 => "an empty folder".to_owned(),
            None => format!("{} files with other endings", class.others),
            Some(file) => {
                let path = self.files.root.join(file);
                let first = skipped.iter().find(|skipped| skipped.path == path);
                let first = first.map(ToString::to_string).unwrap_or_default();
                format!("{} that cannot be read, first {first}", class.files.len())
            }
        };
        let expected = format!("at least one picture ({})", EXTENSIONS.join(", "));
        Err(Error::argument(folder.display().to_string(), "class folder", expected, received))
    }
}

fn shown(root: &Path, folder: &str) -> String {
    if folder.is_empty() { root.display().to_string() } else { root.join(folder).display().to_string() }
}
