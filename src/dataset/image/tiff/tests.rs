//! Small files made here, with pixels by closed form. Larger ones are compared with Pillow outside.

mod damage;

use std::io::Write;

use super::*;

/// Room for any image here.
const ROOM: u64 = 32 << 20;

/// A TIFF with one directory.
#[derive(Clone)]
struct File {
    big_endian: bool,
    big: bool,
    tags: Vec<(u16, Vec<u64>)>,
    chunks: Vec<Vec<u8>>,
}

impl File {
    /// Grey of 8 bits, uncompressed, lighter with larger samples.
    fn new(width: u64, height: u64, chunks: &[&[u8]]) -> File {
        let file = File {
            big_endian: false,
            big: false,
            tags: Vec::new(),
            chunks: chunks.iter().map(|chunk| chunk.to_vec()).collect(),
        };
        let file = file
            .with(256, &[width])
            .with(257, &[height])
            .with(258, &[8]);
        file.with(262, &[1]).with(278, &[height])
    }

    fn with(mut self, tag: u16, values: &[u64]) -> File {
        self.tags.retain(|(other, _)| *other != tag);
        self.tags.push((tag, values.to_vec()));
        self
    }

    fn rgb(width: u64, height: u64, chunks: &[&[u8]]) -> File {
        let file = File::new(width, height, chunks);
        file.with(258, &[8; 3]).with(262, &[2]).with(277, &[3])
    }

    fn bytes(&self) -> Vec<u8> {
        let number = |value: u64, width: usize| match self.big_endian {
            true => value.to_be_bytes()[8 - width..].to_vec(),
            false => value.to_le_bytes()[..width].to_vec(),
        };
        let width = if self.big { 8 } else { 4 };
        let header = if self.big { 16 } else { 8 };
        let mut data = vec![0; header];
        let mut tags = self.tags.clone();
        let (mut offsets, mut counts) = (Vec::new(), Vec::new());
        for chunk in &self.chunks {
            offsets.push(data.len() as u64);
            counts.push(chunk.len() as u64);
            data.extend(chunk);
        }
        if !tags.iter().any(|(tag, _)| *tag == 273) {
            tags.extend([(273, offsets), (279, counts)]);
        }
        tags.sort();
        let mut entries = Vec::new();
        for (tag, values) in &tags {
            // JPEG tables are bytes; everything else is as wide as an offset.
            let (kind, size) = match (tag, self.big) {
                (347, _) => (7, 1),
                (_, true) => (16, 8),
                (_, false) => (4, 4),
            };
            let mut raw: Vec<u8> = values
                .iter()
                .flat_map(|&value| number(value, size))
                .collect();
            if raw.len() > width {
                let offset = number(data.len() as u64, width);
                data.extend(std::mem::replace(&mut raw, offset));
            }
            raw.resize(width, 0);
            entries.extend(number(u64::from(*tag), 2));
            entries.extend(number(kind, 2));
            entries.extend(number(values.len() as u64, width));
            entries.extend(raw);
        }
        let directory = data.len() as u64;
        data.extend(number(tags.len() as u64, if self.big { 8 } else { 2 }));
        data.extend(entries);
        data.extend(number(0, width));
        let mut start = if self.big_endian {
            b"MM".to_vec()
        } else {
            b"II".to_vec()
        };
        start.extend(number(if self.big { 43 } else { 42 }, 2));
        if self.big {
            start.extend(number(8, 2));
            start.extend(number(0, 2));
        }
        start.extend(number(directory, width));
        data[..header].copy_from_slice(&start);
        data
    }

    fn decoded(&self) -> Stored {
        decode(&self.bytes(), Depth::Scale, ROOM).unwrap()
    }

    /// Pixels without a loss.
    fn pixels(&self) -> Vec<u8> {
        let stored = self.decoded();
        assert_eq!(stored.loss, None);
        stored.pixels
    }

    /// The first channel of a grey image without a loss.
    fn greys(&self) -> Vec<u8> {
        let pixels = self.pixels();
        let (pixels, _) = pixels.as_chunks::<3>();
        assert!(pixels.iter().all(|&[r, g, b]| r == g && g == b));
        pixels.iter().map(|pixel| pixel[0]).collect()
    }

    fn error(&self) -> String {
        let decoded = decode(&self.bytes(), Depth::Scale, ROOM);
        decoded.map(|_| ()).unwrap_err().to_string()
    }
}

#[test]
fn both_byte_orders_and_bigtiff() {
    for (big_endian, big) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut file = File::new(2, 3, &[&[1, 2, 3, 4], &[5, 6]]).with(278, &[2]);
        (file.big_endian, file.big) = (big_endian, big);
        assert_eq!(size(&file.bytes()), Ok((2, 3)));
        assert_eq!(file.greys(), [1, 2, 3, 4, 5, 6]);
        let samples: &[u8] = if big_endian {
            &[0x12, 0x34]
        } else {
            &[0x34, 0x12]
        };
        let mut file = File::rgb(1, 1, &[&samples.repeat(3)]).with(258, &[16; 3]);
        (file.big_endian, file.big) = (big_endian, big);
        assert_eq!(file.pixels(), [0x12; 3]);
    }
}

#[test]
fn greys_of_few_bits_are_stretched_and_the_white_may_be_zero() {
    let file = |bits, row: &[u8]| File::new(3, 1, &[row]).with(258, &[bits]);
    assert_eq!(file(1, &[0b1010_0000]).greys(), [255, 0, 255]);
    assert_eq!(file(2, &[0b0001_1100]).greys(), [0, 85, 255]);
    assert_eq!(file(4, &[0x0F, 0x80]).greys(), [0, 255, 136]);
    assert_eq!(file(8, &[0, 9, 255]).greys(), [0, 9, 255]);
    assert_eq!(
        file(4, &[0x0F, 0x80]).with(262, &[0]).greys(),
        [255, 0, 119]
    );
    // The bits of every byte in reverse.
    assert_eq!(
        file(2, &[0b0011_1000]).with(266, &[2]).greys(),
        [0, 85, 255]
    );
}

#[test]
fn greys_of_many_bits_go_by_depth() {
    let file = |bits, row: &[u8]| File::new(2, 1, &[row]).with(258, &[bits]);
    assert_eq!(file(12, &[0x12, 0x3F, 0xFF]).greys(), [0x12, 0xFF]);
    assert_eq!(file(16, &[0, 0x80, 0, 0x01]).greys(), [0x80, 0x01]);
    // As in Pillow: not inverted.
    assert_eq!(
        file(16, &[0, 0x80, 0, 0x01]).with(262, &[0]).greys(),
        [0x80, 0x01]
    );
    assert_eq!(
        file(16, &[0xFF, 0xFF, 7, 0]).with(339, &[2]).greys(),
        [0, 7]
    );
    assert_eq!(file(32, &[0, 0, 0, 0x80, 0, 0, 0, 1]).greys(), [0x80, 0x01]);
    let high = |file: File| decode(&file.bytes(), Depth::HighByte, ROOM).unwrap().pixels;
    assert_eq!(
        high(file(12, &[0x12, 0x3F, 0xFF])),
        [0x12, 0x12, 0x12, 255, 255, 255]
    );
    let wide = file(32, &[0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(high(wide), [1, 1, 1, 0, 0, 0]);
}

#[test]
fn tiles_are_cut_at_the_image() {
    // 3x3 in tiles of 2x2.
    let tiles: [&[u8]; 4] = [
        &[0, 1, 3, 4],
        &[2, 99, 5, 99],
        &[6, 7, 99, 99],
        &[8, 99, 99, 99],
    ];
    let file = File::new(3, 3, &tiles).with(322, &[2]).with(323, &[2]);
    assert_eq!(file.greys(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn separate_planes() {
    let file = File::rgb(2, 1, &[&[1, 2], &[3, 4], &[5, 6]]).with(284, &[2]);
    assert_eq!(file.pixels(), [1, 3, 5, 2, 4, 6]);
}

#[test]
fn alpha_is_dropped_or_divided_by() {
    let file = |kind| {
        File::rgb(1, 1, &[&[10, 20, 100, 102]])
            .with(277, &[4])
            .with(338, &[kind])
    };
    let file = |kind| file(kind).with(258, &[8; 4]);
    assert_eq!(file(0).pixels(), [10, 20, 100]);
    assert_eq!(file(2).pixels(), [10, 20, 100]);
    assert_eq!(file(1).pixels(), [25, 50, 250]);
    let grey = File::new(1, 1, &[&[7, 9]])
        .with(258, &[8; 2])
        .with(277, &[2]);
    assert_eq!(grey.with(338, &[2]).greys(), [7]);
}

#[test]
fn palettes_and_inks() {
    let map = [0x1000, 0x2000, 0x30FF, 0x4000, 0x5000, 0x60FF];
    let file = File::new(2, 1, &[&[0b0100_0000]]).with(258, &[1]);
    let file = file.with(262, &[3]).with(320, &map);
    assert_eq!(file.pixels(), [0x10, 0x30, 0x50, 0x20, 0x40, 0x60]);
    let inks = File::new(1, 1, &[&[0, 255, 51, 0]]).with(258, &[8; 4]);
    assert_eq!(inks.with(277, &[4]).with(262, &[5]).pixels(), [255, 0, 204]);
}

#[test]
fn luminance_and_chroma() {
    let file = |chunk: &[u8], x, y| File::rgb(2, 2, &[chunk]).with(262, &[6]).with(530, &[x, y]);
    // Without chroma, the luminance is the grey.
    let block = file(&[10, 20, 30, 40, 128, 128], 2, 2);
    assert_eq!(block.greys(), [10, 20, 30, 40]);
    let pairs = file(&[10, 20, 128, 128, 30, 40, 128, 128], 2, 1);
    assert_eq!(pairs.greys(), [10, 20, 30, 40]);
    let alone = file(&[9, 128, 128].repeat(4), 1, 1);
    assert_eq!(alone.greys(), [9; 4]);
    let red = file(&[76, 85, 255].repeat(4), 1, 1);
    assert_eq!(red.pixels(), [254, 0, 0].repeat(4));
}

#[test]
fn lossless_compressions() {
    let rows: Vec<u8> = (0..64).map(|i| i / 5 * 17).collect();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(&rows).unwrap();
    let zlib = zlib.finish().unwrap();
    let lzw = weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(&rows);
    let old_lzw = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(&rows);
    // A run, then bytes as they are, with an empty code between them.
    let mut pack_bits = vec![-4_i8 as u8, rows[0], 0x80, 58];
    pack_bits.extend(&rows[5..]);
    let streams = [
        (5, lzw.unwrap()),
        (5, old_lzw.unwrap()),
        (8, zlib.clone()),
        (32946, zlib),
        (32773, pack_bits),
        (50000, zstd::encode_all(rows.as_slice(), 0).unwrap()),
    ];
    for (code, stream) in streams {
        let file = File::new(8, 8, &[&stream]).with(259, &[code]);
        assert_eq!(file.greys(), rows, "compression {code}");
        let turned: Vec<u8> = stream.iter().map(|byte| byte.reverse_bits()).collect();
        let file = File::new(8, 8, &[&turned])
            .with(259, &[code])
            .with(266, &[2]);
        assert_eq!(file.greys(), rows, "compression {code} from the low bits");
    }
}

#[test]
fn differences_are_summed() {
    let packed = |rows: &[u8]| zstd::encode_all(rows, 0).unwrap();
    let file = |width, rows: &[u8]| {
        File::new(width, 2, &[&packed(rows)])
            .with(259, &[50000])
            .with(317, &[2])
    };
    assert_eq!(file(3, &[1, 2, 253, 5, 0, 1]).greys(), [1, 3, 0, 5, 5, 6]);
    let colours = file(2, &[1, 2, 3, 1, 1, 1, 9, 9, 9, 0, 0, 1]);
    let colours = colours.with(258, &[8; 3]).with(262, &[2]).with(277, &[3]);
    assert_eq!(colours.pixels(), [1, 2, 3, 2, 3, 4, 9, 9, 9, 9, 9, 10]);
    let wide = file(2, &[0xFF, 0x01, 0x01, 0x7E, 0, 0, 0, 0]).with(258, &[16]);
    assert_eq!(wide.greys(), [1, 128, 0, 0]);
}

/// Bits to bytes.
fn bits(text: &str) -> Vec<u8> {
    let bits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |bits: &[u8]| {
        (0..8).fold(0, |byte, i| {
            byte << 1 | u8::from(bits.get(i) == Some(&b'1'))
        })
    };
    bits.chunks(8).map(byte).collect()
}

#[test]
fn fax_codings() {
    const EOL: &str = "000000000001 ";
    // White 4, black 3, white 1.
    let line = "1011 10 000111 ";
    let fax = |code, stream: &str| {
        let file = File::new(8, 2, &[&bits(stream)]).with(258, &[1]);
        file.with(262, &[0]).with(259, &[code])
    };
    let expected = [[255, 255, 255, 255, 0, 0, 0, 255]; 2].concat();
    assert_eq!(fax(2, &format!("{line}0000{line}")).greys(), expected);
    assert_eq!(fax(3, &format!("{EOL}{line}{EOL}{line}")).greys(), expected);
    // Fill bits before a code; and no codes at all.
    assert_eq!(
        fax(3, &format!("{EOL}{line}00000{EOL}{line}")).greys(),
        expected
    );
    assert_eq!(fax(3, &format!("{line}{line}")).greys(), expected);
    // The second line in two dimensions: every change below one above.
    let two = fax(3, &format!("{EOL}1{line}{EOL}0 1 1 1")).with(292, &[1]);
    assert_eq!(two.greys(), expected);
    // Horizontal mode, then a vertical one for the line's end; and the end of the image after.
    let first = "001 1011 10 1 ";
    assert_eq!(
        fax(4, &format!("{first}1 1 1 {EOL}{EOL}")).greys(),
        expected
    );
    // White lines at the end may be left out.
    let short = [&expected[..8], &[255; 8]].concat();
    assert_eq!(fax(4, &format!("{first}{EOL}{EOL}")).greys(), short);
    // Shifted changes, and a pass over both of those above.
    let second = "011 010 1 ";
    assert_eq!(
        fax(4, &format!("{first}{second}{EOL}")).greys()[8..],
        [255, 255, 255, 255, 255, 0, 255, 255]
    );
    assert_eq!(
        fax(4, &format!("{first}0001 1 {EOL}")).greys()[8..],
        [255; 8]
    );
}

#[test]
fn damaged_fax_lines_are_white_from_there_on() {
    // A white run of 4, then no code.
    let stream = bits("1011 0000000 1 0000 1011 10 000111");
    let file = File::new(8, 1, &[&stream]).with(258, &[1]);
    let stored = file.with(262, &[0]).with(259, &[2]).decoded();
    assert_eq!(stored.loss.as_deref(), Some("damaged CCITT lines"));
    assert_eq!(stored.pixels, [255; 24]);
}

/// A grey JPEG of 8x8 whose only coefficient is 0: every sample is 128. Tables and picture.
fn jpeg() -> (Vec<u8>, Vec<u8>) {
    let mut tables = b"\xFF\xD8\xFF\xDB\0\x43\0".to_vec();
    tables.extend([1; 64]);
    for class in [0x00, 0x10] {
        // One code of one bit, for the symbol 0.
        tables.extend([0xFF, 0xC4, 0, 20, class, 1]);
        tables.extend([0; 16]);
    }
    tables.extend([0xFF, 0xD9]);
    let picture = b"\xFF\xD8\xFF\xC0\0\x0B\x08\0\x08\0\x08\x01\x01\x11\0\
        \xFF\xDA\0\x08\x01\x01\0\0\x3F\0\x3F\xFF\xD9";
    (tables, picture.to_vec())
}

#[test]
fn jpeg_tables_are_shared() {
    let (tables, picture) = jpeg();
    let tables: Vec<u64> = tables.into_iter().map(u64::from).collect();
    let file = File::new(8, 16, &[&picture, &picture]).with(259, &[7]);
    let file = file.with(278, &[8]).with(347, &tables);
    assert_eq!(file.greys(), [128; 128]);
    // A component too few.
    assert_eq!(
        file.with(258, &[8; 3])
            .with(262, &[2])
            .with(277, &[3])
            .error(),
        "corrupt tiff: a JPEG of 1 components for 3 samples"
    );
}

#[test]
fn old_jpeg_is_one_stream() {
    let (tables, picture) = jpeg();
    let stream = [&tables[..tables.len() - 2], &picture[2..]].concat();
    let file = File::new(8, 8, &[&stream]).with(259, &[6]).with(277, &[1]);
    assert_eq!(file.greys(), [128; 64]);
    let parts = File::new(8, 8, &[&stream[20..]])
        .with(259, &[6])
        .with(277, &[1]);
    assert!(
        parts
            .error()
            .starts_with("unsupported tiff: old-style JPEG in parts")
    );
}

#[test]
fn what_is_not_read_is_named() {
    let grey = || File::new(1, 1, &[&[0; 8]]);
    let cases = [
        (
            grey().with(258, &[32]).with(339, &[3]),
            "floating-point samples: convert them to 8 or 16 bits",
        ),
        (
            grey().with(259, &[34925]),
            "LZMA compression: save it with Deflate or LZW",
        ),
        (
            grey().with(262, &[8]),
            "CIE L*a*b* colours: convert them to RGB",
        ),
        (
            grey().with(258, &[8; 5]).with(277, &[5]),
            "5 channels: save three of them as RGB",
        ),
        (
            grey().with(258, &[64]),
            "64-bit grey: convert it to 8 or 16 bits",
        ),
        (
            grey().with(258, &[8, 4]).with(277, &[2]),
            "samples of different numbers of bits",
        ),
    ];
    for (file, reason) in cases {
        assert_eq!(file.error(), format!("unsupported tiff: {reason}"));
    }
}
