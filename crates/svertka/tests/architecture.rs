//! The promises of ARCHITECTURE.md that the compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

/// Which crates of ours each crate may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("svertka-kernels", &[]),
    ("svertka-formats", &[]),
    ("svertka", &["svertka-formats", "svertka-kernels"]),
    ("svertka-cli", &["svertka"]),
];

#[test]
fn crates_use_only_what_lies_below() {
    let folders = fs::read_dir(root().join("crates")).unwrap();
    let mut crates: Vec<String> =
        folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    crates.sort();
    let mut known: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(crates, known, "a new crate needs a line in ARROWS and a reason in ARCHITECTURE.md");
    for (name, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
        for line in dependencies.take_while(|line| !line.starts_with("[lints]")) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let ours = dependency.starts_with("svertka");
            assert!(!ours || allowed.contains(&dependency), "{name} must not use {dependency}");
        }
    }
}

#[test]
fn unsafe_stays_in_the_kernels() {
    for (name, _) in ARROWS.iter().filter(|(name, _)| *name != "svertka-kernels") {
        for file in rust_files(&root().join("crates").join(name).join("src")) {
            let source = fs::read_to_string(&file).unwrap();
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            let uses = code.filter(|line| line.contains("unsafe ") && !line.contains("unsafe_code")).count();
            assert_eq!(uses, 0, "{}", file.display());
        }
    }
}

#[test]
fn files_stay_small_or_say_why() {
    for (name, _) in ARROWS {
        for file in rust_files(&root().join("crates").join(name).join("src")) {
            let source = fs::read_to_string(&file).unwrap();
            let production = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = production.lines().count();
            let explained = source
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .any(|line| line.contains("long because"));
            assert!(lines <= 420 || explained, "{}: {lines} lines", file.display());
        }
    }
}

#[test]
fn names_say_what_lives_there() {
    for (name, _) in ARROWS {
        for file in rust_files(&root().join("crates").join(name)) {
            let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let vague = ["utils", "util", "common", "misc", "helpers", "helper"].contains(&stem);
            assert!(!vague, "{}", file.display());
        }
    }
}
