//! Pairs the file names in the user's tables with the image files, whatever their spelling.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use unicode_normalization::UnicodeNormalization;

use crate::listing::has_image_extension;

/// What two spellings of one file share.
type Key<'k> = &'k dyn Fn(&str) -> String;

/// The names of a table and the files they stand for.
#[derive(Debug, Default, PartialEq)]
pub struct Pairing {
    /// For each name, the position of its file; `None` without one.
    pub files: Vec<Option<usize>>,
    /// For names that are spelled otherwise than their files: in what way, how many, and one of them with its file.
    pub spellings: BTreeMap<&'static str, (u64, [String; 2])>,
}

/// Changes a name to a path relative to the image folder, step by step.
type Step<'s> = (&'static str, &'s dyn Fn(&str) -> Option<String>);

/// Pairs the names with the paths, which are relative to `folder`. A file goes to the name that is its path, otherwise to the only
/// name that is it in another spelling.
pub fn pair<'p>(
    names: impl IntoIterator<Item = &'p str>,
    paths: &[&'p str],
    folder: &Path,
) -> Pairing {
    let exact: HashMap<&str, usize> = (0..).zip(paths).map(|(at, path)| (*path, at)).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let mut pairing = Pairing {
        files: names.iter().map(|name| exact.get(name).copied()).collect(),
        spellings: BTreeMap::new(),
    };
    if pairing.files.iter().all(Option::is_some) {
        return pairing;
    }
    let folders = [std::path::absolute(folder), std::fs::canonicalize(folder)];
    let folders = folders.into_iter().flatten();
    let folders: Vec<String> = folders
        .filter_map(|folder| Some(folder.to_str()?.to_string()))
        .collect();
    let own_name = folder
        .file_name()
        .or(Path::new(folders.first().map_or("", String::as_str)).file_name());
    let own_name = own_name.and_then(|name| name.to_str()).unwrap_or_default();
    let steps: [Step; 6] = [
        ("blanks around", &|name| Some(name.trim().to_string())),
        ("backslashes", &|name| Some(name.replace('\\', "/"))),
        ("URL encoding", &percent_decoded),
        ("slashes or dots that mean nothing", &|name| {
            let parts = name.split('/').enumerate();
            let parts: Vec<&str> = parts
                .filter(|(at, part)| (*at == 0 || !part.is_empty()) && *part != ".")
                .map(|(_, part)| part)
                .collect();
            Some(parts.join("/"))
        }),
        ("absolute paths", &|name| {
            let below = folders
                .iter()
                .find_map(|folder| name.strip_prefix(folder.as_str()));
            below.or(Some(name))?.strip_prefix('/').map(str::to_string)
        }),
        ("the image folder's name in front", &|name| {
            name.strip_prefix(own_name)?
                .strip_prefix('/')
                .map(str::to_string)
        }),
    ];
    let keys: [(&'static str, Key); 4] = [
        ("Unicode composition, or case of the extension", &key),
        ("no extension", &|path| {
            without_extension(&key(path)).to_string()
        }),
        ("the file's name without its folders", &|path| {
            base(&key(path)).to_string()
        }),
        (
            "the file's name without its folders and extension",
            &|path| without_extension(base(&key(path))).to_string(),
        ),
    ];
    // The only file of each key.
    let by_key = keys.map(|(_, key)| {
        let mut files: HashMap<String, Option<usize>> = HashMap::new();
        for (at, path) in paths.iter().enumerate() {
            files
                .entry(key(path))
                .and_modify(|file| *file = None)
                .or_insert(Some(at));
        }
        files
    });
    let find = |name: &str| -> Option<(&'static str, usize)> {
        let mut name = Cow::Borrowed(name);
        for (spelling, step) in &steps {
            let Some(next) = step(&name).filter(|next| *next != name) else {
                continue;
            };
            if let Some(&at) = exact.get(next.as_str()) {
                return Some((spelling, at));
            }
            name = next.into();
        }
        let mut found = keys.iter().zip(&by_key);
        found.find_map(|((spelling, key), files)| Some((*spelling, (*files.get(&key(&name))?)?)))
    };
    let mut n_names = vec![0; paths.len()];
    pairing
        .files
        .iter()
        .flatten()
        .for_each(|&at| n_names[at] += 2);
    let found: Vec<Option<(&'static str, usize)>> = (names.iter().zip(&pairing.files))
        .map(|(name, file)| file.is_none().then(|| find(name)).flatten())
        .collect();
    found.iter().flatten().for_each(|(_, at)| n_names[*at] += 1);
    for (row, found) in found.into_iter().enumerate() {
        let Some((spelling, at)) = found.filter(|(_, at)| n_names[*at] == 1) else {
            continue;
        };
        pairing.files[row] = Some(at);
        let example = || [names[row].to_string(), paths[at].to_string()];
        let known = pairing.spellings.entry(spelling);
        known.or_insert_with(|| (0, example())).0 += 1;
    }
    pairing
}

/// The composed form of a path, with the extension in lower case.
fn key(path: &str) -> String {
    let composed: String = path.nfc().collect();
    match composed.rsplit_once('.') {
        Some((stem, extension)) if !extension.contains('/') => {
            format!("{stem}.{}", extension.to_lowercase())
        }
        _ => composed,
    }
}

fn base(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, base)| base)
}

fn without_extension(path: &str) -> &str {
    match path.rsplit_once('.') {
        Some((stem, _)) if has_image_extension(Path::new(path)) => stem,
        _ => path,
    }
}

/// `%20` and the like decoded; `None` if the result is not UTF-8.
fn percent_decoded(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|_| byte == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                decoded.push(code);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paired<'p>(names: &[&'p str], paths: &[&'p str]) -> Pairing {
        pair(names.iter().copied(), paths, Path::new("/data/photos"))
    }

    #[test]
    fn names_are_paired_in_any_spelling() {
        let paths = ["a/1.jpg", "a/2 x.png", "b/caf\u{e9}.JPG", "b/4.jpg"];
        for (name, file, spelling) in [
            ("a/1.jpg", 0, None),
            (" a/1.jpg ", 0, Some("blanks")),
            ("a\\1.jpg", 0, Some("backslashes")),
            ("/data/photos/a/1.jpg", 0, Some("absolute")),
            ("D:\\data\\photos\\a\\1.jpg", 0, Some("without its folders")),
            ("/a/1.jpg", 0, Some("absolute")),
            ("a//1.jpg", 0, Some("slashes")),
            ("./a/./1.jpg", 0, Some("slashes")),
            ("photos/a/1.jpg", 0, Some("folder's name")),
            ("photos\\a\\1.jpg", 0, Some("folder's name")),
            ("1.jpg", 0, Some("without its folders")),
            ("a/1", 0, Some("no extension")),
            ("a/1.JPG", 0, Some("case")),
            ("1", 0, Some("folders and extension")),
            ("a/2%20x.png", 1, Some("URL")),
            ("b/cafe\u{301}.jpg", 2, Some("Unicode")),
            ("http://host/b/4.jpg", 3, Some("without its folders")),
        ] {
            let found = paired(&[name], &paths);
            assert_eq!(found.files, [Some(file)], "{name}");
            let used: Vec<&str> = found.spellings.keys().copied().collect();
            assert_eq!(
                used.len(),
                usize::from(spelling.is_some()),
                "{name}: {used:?}"
            );
            assert!(
                spelling.is_none_or(|word| used[0].contains(word)),
                "{name}: {used:?}"
            );
        }
    }

    #[test]
    fn ambiguous_names_have_no_file() {
        // Two files of one name, and two names for one file.
        assert_eq!(paired(&["1.jpg"], &["a/1.jpg", "b/1.jpg"]).files, [None]);
        assert_eq!(
            paired(&["a/1.jpg", "b/1.jpg"], &["1.jpg"]).files,
            [None, None]
        );
        assert_eq!(
            paired(&["1.jpg", "b/1.jpg"], &["1.jpg"]).files,
            [Some(0), None]
        );
        assert_eq!(paired(&["2.jpg", "%zz", ""], &["1.jpg"]).files, [None; 3]);
    }
}
