use std::{fs, os::unix::ffi::OsStrExt, os::unix::fs::symlink};

use super::*;

fn names(listing: &Listing) -> Vec<(&str, Option<&str>)> {
    let entries = listing.entries.iter();
    entries
        .map(|entry| (entry.path.as_str(), entry.problem.as_deref()))
        .collect()
}

#[test]
fn images_are_sorted_by_path_bytes_and_other_files_only_counted() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        "b/1.JPG",
        "a/x.jpeg",
        "a.png",
        "a/b/c.tiff",
        "Z.gif",
        "notes.txt",
        "a/no_extension",
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let listing = walk(folder.path(), Path::new("nowhere"), Links::Follow).unwrap();
    let paths: Vec<&str> = names(&listing).iter().map(|(path, _)| *path).collect();
    // '.' sorts before '/', upper case before lower case.
    assert_eq!(
        paths,
        ["Z.gif", "a.png", "a/b/c.tiff", "a/x.jpeg", "b/1.JPG"]
    );
    assert_eq!(listing.n_other, 2);
    assert!(listing.warnings.is_empty());
}

#[test]
fn hidden_and_system_files_are_not_of_the_dataset() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        "cat/1.png",
        "cat/.ipynb_checkpoints/1-checkpoint.png",
        "cat/._1.png",
        "cat/@eaDir/1.png/THUMB.jpg",
        "__MACOSX/cat/._1.png",
        ".thumbnails/1.png",
        ".DS_Store",
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let listing = walk(folder.path(), Path::new("nowhere"), Links::Follow).unwrap();
    assert_eq!(names(&listing), [("cat/1.png", None)]);
    assert_eq!((listing.n_hidden, listing.n_other), (5, 0));
    assert_eq!(listing.hidden.as_deref(), Some(".thumbnails/1.png"));
    // The image folder itself may be hidden.
    let listing = walk(
        &folder.path().join(".thumbnails"),
        Path::new("nowhere"),
        Links::Follow,
    )
    .unwrap();
    assert_eq!(listing.entries.len(), 1);
}

#[test]
fn the_digest_changes_with_additions_and_rewrites() {
    let folder = tempfile::tempdir().unwrap();
    let digest = || {
        walk(folder.path(), Path::new("nowhere"), Links::Follow)
            .unwrap()
            .digest()
    };
    let empty = digest();
    fs::write(folder.path().join("a.png"), "x").unwrap();
    let one = digest();
    assert_ne!(empty, one);
    assert_eq!(one, digest());
    fs::write(folder.path().join("a.png"), "xy").unwrap();
    assert_ne!(one, digest());
}

#[test]
fn hostile_folders_are_listed_completely() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("deep/er")).unwrap();
    fs::write(at("deep/er/ok.png"), "x").unwrap();
    symlink(folder.path(), at("deep/er/loop")).unwrap();
    symlink("self.png", at("self.png")).unwrap();
    symlink("gone.png", at("broken.png")).unwrap();
    symlink("deep", at("again")).unwrap();
    fs::write(at("new\nline \u{1b}[31m.png"), "x").unwrap();
    fs::write(
        at("<script>alert(1)</script>.png".replace('/', "_").as_str()),
        "x",
    )
    .unwrap();
    fs::write(
        folder
            .path()
            .join(std::ffi::OsStr::from_bytes(b"\xff\xfe.jpg")),
        "x",
    )
    .unwrap();
    fs::create_dir(at("folder.png")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.png")).unwrap();
    fs::create_dir_all(at("runs/it/pictures")).unwrap();
    fs::write(at("runs/it/pictures/sheet.png"), "x").unwrap();
    let listing = walk(folder.path(), &at("runs/it"), Links::Follow).unwrap();
    let found = names(&listing);
    let paths: Vec<&str> = found.iter().map(|(path, _)| *path).collect();
    assert_eq!(
        paths,
        [
            "<script>alert(1)<_script>.png",
            "again/er/ok.png",
            "broken.png",
            "deep/er/ok.png",
            "new\nline \u{1b}[31m.png",
            "self.png",
            "socket.png",
            "%FF%FE.jpg",
        ]
    );
    assert!(
        found[2]
            .1
            .unwrap()
            .starts_with("cannot be read: No such file")
    );
    assert!(found[5].1.unwrap().starts_with("cannot be read"));
    assert_eq!(found[6].1, Some("not a regular file"));
    assert_eq!(found[7].1, Some("file name is not UTF-8"));
    assert_eq!(listing.warnings.len(), 2, "{:?}", listing.warnings);
    assert!(listing.warnings[0].contains("leads back"));
}

#[test]
fn a_folder_that_cannot_be_listed_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1.png"), "x").unwrap();
    // Nested so deep that its path is too long for the system, which holds for any user.
    let nest = "n=$(printf 'd%.0s' {1..200}); for _ in {1..25}; do mkdir $n && cd $n; done";
    let made = std::process::Command::new("bash")
        .args(["-c", nest])
        .current_dir(folder.path())
        .status();
    assert!(made.unwrap().success());
    let error = walk(folder.path(), Path::new("nowhere"), Links::Follow)
        .unwrap_err()
        .to_string();
    assert!(error.contains("listing a folder of images"), "{error}");
    assert!(error.contains("would be missing"), "{error}");
}

#[test]
fn a_missing_folder_is_named_in_the_error() {
    let error = walk(
        Path::new("/no/such/folder"),
        Path::new("nowhere"),
        Links::Follow,
    )
    .unwrap_err();
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
}

#[test]
fn links_that_lead_outside_are_counted_or_left_out() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    fs::create_dir_all(other.path().join("er")).unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    for file in [folder.path().join("a/1.png"), other.path().join("er/2.png")] {
        fs::write(file, "x").unwrap();
    }
    for (target, link) in [
        (folder.path().join("a/1.png"), "in.png"),
        (folder.path().join("a"), "b"),
        (other.path().join("er/2.png"), "out.png"),
        (other.path().to_path_buf(), "c"),
        (folder.path().join("missing.png"), "d.png"),
    ] {
        symlink(target, folder.path().join(link)).unwrap();
    }
    let list = |links| walk(folder.path(), Path::new("nowhere"), links).unwrap();
    let paths = |listing: &Listing| -> Vec<String> {
        let entries = listing.entries.iter();
        entries.map(|entry| entry.path.clone()).collect()
    };
    let all = list(Links::Follow);
    let expected = [
        "a/1.png",
        "b/1.png",
        "c/er/2.png",
        "d.png",
        "in.png",
        "out.png",
    ];
    assert_eq!(paths(&all), expected);
    assert_eq!((all.n_outside, all.n_links_skipped), (2, 0));
    let about = "; 2 images by links that lead outside the folder";
    assert_eq!(all.about_links(), about);
    let inside = list(Links::Inside);
    assert_eq!(paths(&inside), ["a/1.png", "b/1.png", "d.png", "in.png"]);
    assert_eq!((inside.n_outside, inside.n_links_skipped), (0, 2));
    let none = list(Links::Skip);
    assert_eq!(paths(&none), ["a/1.png"]);
    assert_eq!((none.n_outside, none.n_links_skipped), (0, 5));
    assert_eq!(none.about_links(), "; 5 links not followed");
    // The image folder itself may be a link.
    let link = other.path().join("dataset");
    symlink(folder.path(), &link).unwrap();
    let through = walk(&link, Path::new("nowhere"), Links::Skip).unwrap();
    assert_eq!(paths(&through), ["a/1.png"]);
}
