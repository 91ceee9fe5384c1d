//! Fitted pictures of a folder that are kept: what is decoded again, and that nobody sees a difference.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use svertka::data::{Augment, Batch, CacheUse, Dataset, Loader, LoaderOptions, OpenOptions};
use svertka::formats::Picture;
use tempfile::TempDir;

/// An uncompressed size: pictures of other values have as many bytes.
fn bmp(value: u8) -> Vec<u8> {
    let (width, height) = (20_u32, 18_u32);
    let row = (width * 3).div_ceil(4) * 4;
    let mut bytes = [&b"BM"[..], &(54 + row * height).to_le_bytes(), &[0; 4], &54_u32.to_le_bytes()].concat();
    for number in [40, width, height, 1 | 24 << 16, 0, row * height, 0, 0, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend((0..row * height).map(|i| value ^ (i * i % 191) as u8));
    bytes
}

/// Writes a file, changed this many seconds ago: what was changed just now is not trusted to stay.
fn write(root: &Path, name: &str, bytes: &[u8], age: u64) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    let time = SystemTime::now() - Duration::from_secs(age);
    File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    path
}

/// Two classes to train and to test, a broken file and one without end.
struct Folder {
    data: TempDir,
    cache: TempDir,
}

/// Readable pictures in it.
const COUNT: usize = 28;

impl Folder {
    fn new() -> Self {
        let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (class, name) in ["train/a", "train/b", "test/a", "test/b"].iter().enumerate() {
            for i in 0..7 {
                write(data.path(), &format!("{name}/{i}.bmp"), &bmp((class * 40 + i) as u8), 1000);
            }
        }
        write(data.path(), "train/b/broken.png", b"no picture", 1000);
        Self { data, cache }
    }

    fn options(&self) -> OpenOptions<'static> {
        let cache = Some(self.cache.path().join("made/if/missing"));
        OpenOptions { cache, ..OpenOptions::default() }
    }

    fn open(&self) -> Dataset {
        Dataset::open(self.data.path(), &self.options()).unwrap()
    }

    /// Opens with and without the cache, finds no difference, and tells how many pictures were (reused, decoded).
    fn check(&self, options: &OpenOptions) -> (usize, usize) {
        let kept = Dataset::open(self.data.path(), options).unwrap();
        let plain = Dataset::open(self.data.path(), &OpenOptions { cache: None, ..options.clone() }).unwrap();
        assert_eq!(plain.cache, None);
        same(&kept, &plain);
        let CacheUse { reused, decoded, problem, .. } = kept.cache.unwrap();
        assert_eq!(problem, None);
        (reused, decoded)
    }

    /// The one file of the cache.
    fn file(&self) -> PathBuf {
        let folder = self.options().cache.unwrap();
        let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn batches(set: &Dataset, threads: usize) -> Vec<Batch> {
    let input = set.preprocessing().unwrap();
    let augment = Augment { mixup: 0.3, ..Augment::default_for(input.height, input.width, input.channels) };
    let options =
        LoaderOptions { batch: 5, shuffle: true, augment, seed: 3, threads, ..LoaderOptions::default() };
    let mut loader = Loader::new(&set.train, &input, options).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = loader.next_batch().unwrap() {
        all.push(batch.clone());
    }
    all
}

fn same(kept: &Dataset, plain: &Dataset) {
    assert_eq!((kept.fingerprint(), &kept.skipped), (plain.fingerprint(), &plain.skipped));
    assert_eq!(kept.preprocessing().unwrap(), plain.preprocessing().unwrap());
    assert_eq!(batches(kept, 2), batches(plain, 1));
    for (kept, plain) in [(kept.test.as_ref(), plain.test.as_ref()), (kept.val.as_ref(), plain.val.as_ref())]
    {
        let pictures = |split: Option<&svertka::data::Split>| -> Vec<Picture> {
            split
                .map(|split| (0..split.len()).map(|i| split.picture(i).unwrap()).collect())
                .unwrap_or_default()
        };
        assert_eq!(pictures(kept), pictures(plain));
    }
}

/// Decoded at first: the training pictures to choose the size, then all, both with the broken one.
const FIRST: (usize, usize) = (0, 15 + COUNT + 1);

#[test]
fn the_second_opening_decodes_nothing() {
    let folder = Folder::new();
    assert_eq!(folder.check(&folder.options()), FIRST);
    for memory_limit in [0, 1 << 30] {
        assert_eq!(folder.check(&OpenOptions { memory_limit, ..folder.options() }), (COUNT, 0));
    }
    // Other splits of the same pictures, and the size that had been chosen.
    let size = Some((18, 20));
    let options = OpenOptions {
        val_fraction: Some(0.4),
        seed: 9,
        size,
        channels: Some(3),
        threads: 1,
        ..folder.options()
    };
    assert_eq!(folder.check(&options), (COUNT, 0));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_changed_is_decoded_again_and_nothing_else() {
    let folder = Folder::new();
    let at = folder.data.path();
    folder.open();
    type Change = fn(&Path);
    // Reused and decoded afterwards, and how many can be read then. A changed training picture is also decoded to choose the size.
    let cases: &[(&str, Change, (usize, usize), usize)] = &[
        ("a new file", |at| drop(write(at, "test/a/new.bmp", &bmp(200), 900)), (28, 1), 29),
        ("a removed file", |at| fs::remove_file(at.join("test/a/new.bmp")).unwrap(), (28, 0), 28),
        ("another content", |at| drop(write(at, "train/a/3.bmp", &bmp(201), 800)), (27, 2), 28),
        (
            "another size",
            |at| drop(write(at, "train/a/3.bmp", &[&bmp(202)[..], &[0]].concat(), 800)),
            (27, 2),
            28,
        ),
        (
            "another name",
            |at| fs::rename(at.join("test/b/0.bmp"), at.join("test/a/0b.bmp")).unwrap(),
            (27, 1),
            28,
        ),
        ("a file that was broken", |at| drop(write(at, "train/b/broken.png", &bmp(203), 700)), (28, 2), 29),
        ("a file that breaks", |at| drop(write(at, "train/b/broken.png", b"again", 600)), (28, 2), 28),
    ];
    for (what, change, expected, count) in cases {
        change(at);
        assert_eq!(folder.check(&folder.options()), *expected, "{what}");
        assert_eq!(folder.check(&folder.options()), (*count, 0), "{what}, afterwards");
    }
    // A file that took another's name, of the same size and time: only the status tells.
    #[cfg(unix)]
    {
        for name in ["other.bmp", "train/a/4.bmp"] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
            let path = write(at, name, &bmp(if name == "other.bmp" { 204 } else { 4 }), 500);
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_times(FileTimes::new().set_modified(time))
                .unwrap();
        }
        assert_eq!(folder.check(&folder.options()), (27, 2));
        fs::rename(at.join("other.bmp"), at.join("train/a/4.bmp")).unwrap();
        assert_eq!(folder.check(&folder.options()), (27, 2));
    }
    // A file changed just now is not taken for settled.
    write(at, "test/a/1.bmp", &bmp(205), 0);
    for _ in 0..2 {
        assert_eq!(folder.check(&folder.options()), (27, 1));
    }
}

#[test]
fn another_size_or_colour_takes_the_place() {
    let folder = Folder::new();
    folder.open();
    let sizes = [(Some((9, 7)), None), (Some((9, 8)), None), (None, Some(1)), (None, None)];
    for (size, channels) in sizes {
        let options = OpenOptions { size, channels, ..folder.options() };
        // The size is chosen by what is known of the pictures, without decoding them.
        assert_eq!(folder.check(&options), (0, COUNT + 1), "{size:?}, {channels:?}");
        assert_eq!(folder.check(&options), (COUNT, 0), "{size:?}, {channels:?}");
        folder.file();
    }
}

#[test]
fn a_damaged_cache_is_made_again() {
    let folder = Folder::new();
    folder.open();
    let whole = fs::read(folder.file()).unwrap();
    let index = whole.windows(11).position(|part| part == b"{\"version\":").unwrap();
    let version = whole.windows(7).position(|part| part == b"0.1.0/1").unwrap();
    type Damage = Box<dyn Fn(&mut Vec<u8>)>;
    let flip = |at: usize| -> Damage { Box::new(move |bytes| bytes[at] ^= 4) };
    let cut = |len: usize| -> Damage { Box::new(move |bytes| bytes.truncate(len)) };
    let cases = [
        ("magic", flip(3)),
        ("length of the index", flip(16)),
        ("high byte of that length", flip(23)),
        ("hash of the index", flip(30)),
        ("index", flip(index + 40)),
        ("version", flip(version)),
        ("nothing", cut(0)),
        ("part of the header", cut(31)),
        ("header", cut(32)),
        ("half", cut(whole.len() / 2)),
        ("all but a byte", cut(whole.len() - 1)),
        ("a byte more", Box::new(|bytes: &mut Vec<u8>| bytes.push(0)) as Damage),
        ("words", Box::new(|bytes: &mut Vec<u8>| *bytes = b"not a cache\n".repeat(900))),
    ];
    for (what, damage) in cases {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(folder.file(), bytes).unwrap();
        assert_eq!(folder.check(&folder.options()), FIRST, "{what}");
        assert!(fs::read(folder.file()).unwrap() == whole, "{what}");
    }
    // Another version with a right hash is refused too: it is the length of the index, not its hash, that is the same.
    let mut bytes = whole.clone();
    bytes[version + 6] = b'0';
    let hash = bytes[index..].iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    bytes[24..32].copy_from_slice(&hash.to_le_bytes());
    fs::write(folder.file(), bytes).unwrap();
    assert_eq!(folder.check(&folder.options()), FIRST);

    // A damaged picture is found when it is read; it is decoded then, and the cache is made again.
    for at in [32 + 5, index - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(folder.file(), bytes).unwrap();
        assert_eq!(folder.check(&folder.options()), (COUNT, 0), "byte {at}");
        assert_eq!(folder.check(&folder.options()), FIRST, "byte {at}");
        assert!(fs::read(folder.file()).unwrap() == whole, "byte {at}");
    }
    // The same where the damaged picture is copied into a new cache.
    let mut bytes = whole.clone();
    bytes[32 + 5] ^= 1;
    fs::write(folder.file(), bytes).unwrap();
    write(folder.data.path(), "test/a/new.bmp", &bmp(200), 900);
    assert_eq!(folder.check(&folder.options()), (COUNT - 1, 2));
}

#[test]
fn what_a_killed_program_left_is_removed() {
    let folder = Folder::new();
    let cache = folder.options().cache.unwrap();
    let left = write(&cache, ".svertka-pictures-left", b"half a cache", 0);
    let used = write(&cache, ".svertka-pictures-used", b"half a cache", 0);
    let lock = File::open(&used).unwrap();
    lock.lock().unwrap();
    folder.open();
    assert!(!left.exists() && used.exists());
    fs::remove_file(used).unwrap();
    folder.file();
}

#[test]
fn where_nothing_can_be_kept_the_set_opens_all_the_same() {
    let folder = Folder::new();
    let file = write(folder.cache.path(), "file", b"", 0);
    for memory_limit in [0, 1 << 30] {
        let options = OpenOptions { cache: Some(file.join("below")), memory_limit, ..OpenOptions::default() };
        let kept = Dataset::open(folder.data.path(), &options).unwrap();
        same(&kept, &Dataset::open(folder.data.path(), &OpenOptions { cache: None, ..options }).unwrap());
        let CacheUse { reused, decoded, problem, path } = kept.cache.unwrap();
        assert_eq!((reused, decoded), FIRST);
        let problem = problem.unwrap();
        assert!(problem.contains("below: Not a directory") && path.starts_with(&file), "{problem}");
    }
    // An earlier cache in a place that became read-only is still of use. (Root may write anywhere.)
    folder.open();
    let cache = folder.options().cache.unwrap();
    let mut permissions = fs::metadata(&cache).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&cache, permissions.clone()).unwrap();
    assert_eq!(folder.check(&folder.options()), (COUNT, 0));
    #[cfg(unix)]
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o700);
    fs::set_permissions(&cache, permissions).unwrap();
}

#[test]
fn sets_that_are_not_decoded_have_no_cache() {
    let folder = Folder::new();
    assert_eq!(Dataset::open("digits", &folder.options()).unwrap().cache, None);
}
