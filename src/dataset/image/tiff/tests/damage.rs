//! Damaged and hostile files.

use super::*;

#[test]
fn a_cut_file_is_read_as_far_as_it_goes() {
    let file = File::new(2, 4, &[&[1, 2, 3, 4], &[5, 6]]).with(278, &[2]);
    let stored = file.decoded();
    assert_eq!(
        stored.pixels[..18],
        [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6]
    );
    // The last row's bytes are those of the directory: an uncompressed strip has no end of its own.
    assert_eq!(stored.loss, None);
    let file = File::new(2, 4, &[&[1, 2, 3, 4]]).with(278, &[2]);
    let stored = file.decoded();
    let loss = "the list of strips or tiles ends early: black from row 2 of 4";
    assert_eq!(stored.loss.as_deref(), Some(loss));
    assert_eq!(stored.pixels[12..], [0; 12]);
    let file = File::new(2, 2, &[&[1, 5, 5, 0, 7]])
        .with(259, &[32773])
        .with(262, &[0]);
    let stored = file.with(273, &[8]).with(279, &[3]).decoded();
    let loss = "a strip or tile has too little data: black from row 1 of 2";
    assert_eq!(stored.loss.as_deref(), Some(loss));
    assert_eq!(
        stored.pixels,
        [250, 250, 250, 250, 250, 250, 0, 0, 0, 0, 0, 0]
    );
    let gone = File::new(2, 2, &[]).with(273, &[1 << 30]).with(279, &[4]);
    assert_eq!(gone.error(), "truncated tiff: the file ends early");
}

#[test]
fn a_damaged_tile_is_black() {
    let good = zstd::encode_all([9; 4].as_slice(), 0).unwrap();
    let bad = vec![0; good.len()];
    let file = File::new(4, 2, &[&bad, &good]).with(259, &[50000]);
    let stored = file.with(322, &[2]).with(323, &[2]).decoded();
    assert!(
        stored
            .loss
            .unwrap()
            .ends_with(": 50.0 % of the image is black")
    );
    assert_eq!(stored.pixels[..12], [0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9]);
}

#[test]
fn hostile_numbers_are_refused() {
    let memory = "need more memory than a file of its size should";
    for tile in [1 << 20, u64::from(u32::MAX)] {
        let file = File::new(1, 1, &[&[0; 4]])
            .with(322, &[tile])
            .with(323, &[tile]);
        assert!(file.error().ends_with(memory));
    }
    let channels = vec![0; 60_000];
    let file = File::rgb(900, 1, &[&[0; 4]])
        .with(277, &[60_003])
        .with(258, &[8]);
    assert!(file.with(338, &channels).error().ends_with(memory));
    assert!(
        File::new(1, 1, &[])
            .with(273, &[])
            .error()
            .starts_with("corrupt tiff")
    );
    for cut in 0..36 {
        let bytes = File::rgb(3, 3, &[&[0; 27]]).bytes();
        assert!(decode(&bytes[..cut], Depth::Scale, ROOM).is_err());
    }
}

#[test]
fn strips_that_share_their_bytes_do_not_multiply_the_work() {
    // Empty blocks before the only pixel of every row.
    let mut stream = vec![0x78, 0x01];
    stream.extend([0, 0, 0, 0xFF, 0xFF].repeat(200_000));
    let n = 5000;
    let file = File::new(1, n, &[&stream]).with(259, &[8]).with(278, &[1]);
    let file = file
        .with(273, &vec![8; n as usize])
        .with(279, &vec![stream.len() as u64; n as usize]);
    assert_eq!(
        file.error(),
        "corrupt tiff: a strip or tile has too little data"
    );
}
