//! Fitted pictures of a folder, kept in one file: the next opening decodes only what is new or changed.
//!
//! ```text
//! header: MAGIC, then length and FNV hash of the index, 8 bytes each, little-endian
//! fitted bytes of each listed file, one after another; those of a file that could not be read mean nothing
//! index: JSON of `Index`
//! ```
//!
//! There is one file for each folder of pictures, named after it and in the size and colours that were wanted last, so that caches do not
//! pile up. It is written under another name and renamed, and mapped, so that the system may take its memory back.
//! What is written is believed only where it can be checked: the index by its hash when the file is opened, a picture by its own each time it
//! is read. Anything else than what was written counts as absent, and is made again.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use svertka_kernels::mapping::Mapping;
use tempfile::NamedTempFile;

use super::split::{FNV_OFFSET, fnv};
use super::{Preprocessing, parallel};
use crate::error::{Error, Result};

/// The second number is raised when decoding or fitting gives other bytes; a test below knows when it does.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/1");

const MAGIC: &[u8; 16] = b"svertka pictures";
const HEADER: usize = MAGIC.len() + 8 + 8;

/// Of names of files that are not whole yet.
const PARTIAL: &str = ".svertka-pictures-";

/// A file changed so shortly before it was read might change again without another time: FAT counts in steps of two seconds.
const SETTLED: Duration = Duration::from_secs(2);

const UNPOISONED: &str = "nothing panics while it holds the lock";

/// What came of [`OpenOptions::cache`](super::OpenOptions::cache).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheUse {
    /// The file.
    pub path: PathBuf,
    /// How many pictures were not decoded, because the file had them.
    pub reused: usize,
    /// How many times a picture was decoded; twice for those that the size is chosen by.
    pub decoded: usize,
    /// Why nothing could be kept.
    pub problem: Option<String>,
}

/// What is known of a picture that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Decoded {
    /// Height, width and channels before it was fitted.
    pub(super) native: (usize, usize, usize),
    /// Hash of its fitted bytes.
    pub(super) digest: u64,
}

#[derive(Serialize, Deserialize)]
struct Index {
    version: String,
    root: String,
    frame: Preprocessing,
    entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    /// Below the root; empty where it is not Unicode, which is no picture's path.
    path: String,
    /// `None` where what was read may not be what is there now.
    stamp: Option<Stamp>,
    outcome: Result<Decoded, String>,
}

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    /// In nanoseconds since 1970.
    modified: i64,
    /// As `modified`, of the status: tells where another file of the same size and time took the name. 0 where the system has no such time.
    changed: i64,
}

/// A whole file of fitted pictures.
#[derive(Debug)]
pub(super) struct Pictures {
    path: PathBuf,
    mapping: Mapping,
    /// Bytes of a picture.
    len: usize,
}

/// The cache of a folder while the folder is opened: what the file has, and the one that takes its place.
pub(super) struct Cache {
    path: PathBuf,
    root: String,
    begun: SystemTime,
    /// Path and stamp of each listed file, or why it can't be opened.
    files: Vec<(String, Result<Stamp, String>)>,
    old: Option<(Index, Arc<Pictures>)>,
    /// For each listed file its place in the old file, where both are the same.
    known: Vec<Option<usize>>,
    /// What is written; `None` where the old file is right as it is.
    new: Mutex<Option<Result<NamedTempFile>>>,
}

impl Cache {
    /// Looks for pictures of `files`, which lie below `root`, in `folder`.
    pub(super) fn open(folder: &Path, root: &Path, files: &[&PathBuf], threads: usize) -> Self {
        let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_path_buf());
        let hash = fnv(FNV_OFFSET, root.as_os_str().as_encoded_bytes());
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!("{name}-{hash:016x}.pictures"));
        let begun = SystemTime::now();
        let files = parallel::map(files.iter(), threads, |file| {
            let stamp = File::open(root.join(file)).and_then(|file| file.metadata());
            (
                file.to_str().unwrap_or_default().to_owned(),
                stamp.map(|metadata| Stamp::of(&metadata)).map_err(|error| error.to_string()),
            )
        });
        let root = root.to_string_lossy().into_owned();
        let old = Pictures::open(&path).filter(|(index, _)| index.root == root);
        let entries = old.iter().flat_map(|(index, _)| &index.entries).enumerate();
        let places: HashMap<&str, (usize, &Entry)> =
            entries.map(|(place, entry)| (entry.path.as_str(), (place, entry))).collect();
        let known = files.iter().map(|(path, stamp)| {
            let (place, entry) = places.get(path.as_str())?;
            (entry.stamp.is_some() && entry.stamp.as_ref() == stamp.as_ref().ok()).then_some(*place)
        });
        let known = known.collect();
        Self { path, root, begun, files, old, known, new: Mutex::new(None) }
    }

    /// What is known of file `item` without reading it.
    pub(super) fn outcome(&self, item: usize) -> Option<Result<Decoded, String>> {
        if let Err(reason) = &self.files[item].1 {
            return Some(Err(reason.clone()));
        }
        let (index, _) = self.old.as_ref()?;
        Some(index.entries[self.known[item]?].outcome.clone())
    }

    /// Settles the size and colours; whether nothing needs to be read. Where something does, a new file is begun.
    pub(super) fn is_complete(&mut self, frame: &Preprocessing) -> bool {
        self.old.take_if(|(index, _)| index.frame != *frame);
        let entries = self.old.as_ref().map_or(&[][..], |(index, _)| &index.entries);
        let same = |(entry, (path, stamp)): (&Entry, &(String, Result<Stamp, String>))| {
            !path.is_empty() && entry.path == *path && entry.stamp.as_ref() == stamp.as_ref().ok()
        };
        let complete = self.old.is_some()
            && entries.len() == self.files.len()
            && entries.iter().zip(&self.files).all(same);
        if !complete {
            self.new = Mutex::new(Some(begin(&self.path)));
        }
        complete
    }

    /// The fitted bytes of file `item`, where they are known and undamaged.
    pub(super) fn pixels(&self, item: usize, digest: u64) -> Option<Vec<u8>> {
        self.old.as_ref()?.1.read(self.known[item]?, digest)
    }

    /// Keeps the fitted bytes of file `item`.
    pub(super) fn write(&self, item: usize, pixels: &[u8]) {
        let mut new = self.new.lock().expect(UNPOISONED);
        if let Some(Ok(file)) = &mut *new {
            let offset = HEADER as u64 + item as u64 * pixels.len() as u64;
            let written = file.as_file_mut().seek(SeekFrom::Start(offset));
            if let Err(error) = written.and_then(|_| file.as_file_mut().write_all(pixels)) {
                // What was written is dropped now: others may need the room.
                *new = Some(Err(Error::io(&self.path)(error)));
            }
        }
    }

    /// The pictures, in the places of the listed files: the old file, or the new one, which takes its name.
    pub(super) fn finish(
        self,
        frame: &Preprocessing,
        outcomes: Vec<Result<Decoded, String>>,
    ) -> (PathBuf, Result<Arc<Pictures>>) {
        let Self { path, root, begun, files, old, new, .. } = self;
        let pictures = match (new.into_inner().expect(UNPOISONED), old) {
            (None, Some((_, pictures))) => Ok(pictures),
            (Some(Ok(file)), _) => {
                let settled = |stamp: &Stamp| {
                    (i128::from(nanos(begun)) - i128::from(stamp.modified)).unsigned_abs()
                        >= SETTLED.as_nanos()
                };
                let entries = files.into_iter().zip(outcomes).map(|((path, stamp), outcome)| Entry {
                    path,
                    stamp: stamp.ok().filter(settled),
                    outcome,
                });
                let entries = entries.collect();
                let index = Index { version: VERSION.to_owned(), root, frame: frame.clone(), entries };
                seal(file, &path, &index).map(Arc::new).map_err(Error::io(&path))
            }
            (Some(Err(error)), _) => Err(error),
            (None, None) => unreachable!("a cache is complete or written"),
        };
        (path, pictures)
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let changed = {
            use std::os::unix::fs::MetadataExt;
            metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec())
        };
        #[cfg(not(unix))]
        let changed = 0;
        // A time that the system does not tell is that of a file just changed.
        let modified = metadata.modified().unwrap_or_else(|_| SystemTime::now());
        Self { size: metadata.len(), modified: nanos(modified), changed }
    }
}

impl Pictures {
    /// The file at `path`, if there is one and it is whole.
    fn open(path: &Path) -> Option<(Index, Arc<Self>)> {
        let mapping = Mapping::new(&File::open(path).ok()?).ok()?;
        let mut header = [0; HEADER];
        if mapping.len() < HEADER {
            return None;
        }
        mapping.read(0, &mut header);
        let (magic, numbers) = header.split_at(MAGIC.len());
        let [len, digest] = numbers.as_chunks::<8>().0 else { return None };
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        let start = (mapping.len() - HEADER).checked_sub(len).filter(|_| magic == MAGIC)?;
        let mut index = vec![0; len];
        mapping.read(HEADER + start, &mut index);
        if fnv(FNV_OFFSET, &index) != u64::from_le_bytes(*digest) {
            return None;
        }
        let index: Index = serde_json::from_slice(&index).ok()?;
        index.frame.validate().ok()?;
        let len = index.frame.len();
        let whole = index.version == VERSION && index.entries.len().checked_mul(len) == Some(start);
        whole.then(|| (index, Arc::new(Self { path: path.to_path_buf(), mapping, len })))
    }

    /// The fitted bytes in `place`; `None` where they are not those that were written.
    pub(super) fn read(&self, place: usize, digest: u64) -> Option<Vec<u8>> {
        let mut pixels = vec![0; self.len];
        self.mapping.read(HEADER + place * self.len, &mut pixels);
        let right = super::split::digest(&pixels) == digest;
        if !right {
            // So that the next opening makes it again; where that fails, the picture is decoded then too.
            let _ = fs::remove_file(&self.path);
        }
        right.then_some(pixels)
    }
}

/// Begins a file that will be `path`. It is private; its lock says that somebody writes it.
fn begin(path: &Path) -> Result<NamedTempFile> {
    let folder = path.parent().expect("a file in the cache's folder");
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    remove_abandoned(folder);
    let file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder).map_err(Error::io(folder))?;
    // Where the system has no locks, nothing is taken for abandoned either.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Removes what programs left that were killed while they wrote: it may be as large as the pictures.
fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let partial = entry.file_name().as_encoded_bytes().starts_with(PARTIAL.as_bytes());
        let unlocked = || File::options().write(true).open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if partial && unlocked() {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Ends a file and gives it its name. Nothing waits for the disk: after a loss of power the hashes tell what is missing.
fn seal(mut file: NamedTempFile, path: &Path, index: &Index) -> io::Result<Pictures> {
    let len = index.frame.len();
    let bytes = serde_json::to_vec(index)?;
    let inner = file.as_file_mut();
    inner.seek(SeekFrom::Start((HEADER + index.entries.len() * len) as u64))?;
    inner.write_all(&bytes)?;
    inner.rewind()?;
    let numbers = [bytes.len() as u64, fnv(FNV_OFFSET, &bytes)].map(u64::to_le_bytes);
    inner.write_all(&[&MAGIC[..], numbers.as_flattened()].concat())?;
    inner.flush()?;
    let mapping = Mapping::new(inner)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(Pictures { path: path.to_path_buf(), mapping, len })
}

fn nanos(time: SystemTime) -> i64 {
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -nanos(before.duration()), nanos)
}

#[cfg(test)]
mod tests {
    use super::super::{Resize, read_picture};
    use super::*;

    /// Where this fails, pictures in caches are no longer what decoding gives: raise [`VERSION`], then put the new hash here.
    #[test]
    fn decoding_gives_what_this_version_gave() {
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures");
        let frame = Preprocessing::new(3, 11, 13, Resize::Cover).unwrap();
        let hash = ["deep.png", "halves.bmp", "halves.gif", "halves.webp", "turned.jpg"]
            .iter()
            .fold(FNV_OFFSET, |hash, name| {
                fnv(hash, &frame.fit(read_picture(&pictures.join(name)).unwrap()).unwrap().data)
            });
        assert_eq!((VERSION, hash), ("0.1.0/1", 11_411_115_460_022_233_913));
    }
}
