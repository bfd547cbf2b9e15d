//! Writes NumPy's `.npy` files row by row.

use std::io::{Seek, SeekFrom, Write};

use prospect_common::{Error, Result};

use super::folder::{Folder, Output};

/// Size of the header: enough for any shape, so that it can be rewritten when the number of rows is known.
const HEADER: usize = 128;

/// A file `[rows, columns]`, or `[rows]` without columns, little-endian, in C order.
pub(super) struct Npy {
    output: Output,
    /// NumPy's type name.
    kind: &'static str,
    columns: Option<usize>,
    rows: u64,
}

impl Npy {
    pub fn new(
        folder: &Folder,
        name: &str,
        kind: &'static str,
        columns: Option<usize>,
    ) -> Result<Npy> {
        let mut output = folder.create(name)?;
        output.bytes(&header(kind, 0, columns))?;
        Ok(Npy {
            output,
            kind,
            columns,
            rows: 0,
        })
    }

    /// Appends a row's bytes.
    pub fn row(&mut self, bytes: &[u8]) -> Result<()> {
        self.rows += 1;
        self.output.bytes(bytes)
    }

    pub fn finish(self) -> Result<()> {
        let path = self.output.path().to_path_buf();
        let header = header(self.kind, self.rows, self.columns);
        let mut file = self.output.finish()?;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&header))
            .and_then(|()| file.sync_all())
            .map_err(Error::io(&path, "writing"))
    }
}

/// Format 1.0: magic, version, length, and a Python dictionary padded with spaces and ending in a line break.
fn header(kind: &str, rows: u64, columns: Option<usize>) -> Vec<u8> {
    let shape = match columns {
        Some(columns) => format!("({rows}, {columns})"),
        None => format!("({rows},)"),
    };
    let dictionary = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((HEADER as u16 - 10).to_le_bytes());
    header.extend(dictionary.bytes());
    header.resize(HEADER - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_equal_numpys() {
        // numpy.save of numpy.zeros((3, 2), "<f4")
        let mut expected =
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }"
                .to_vec();
        expected.resize(127, b' ');
        expected.push(b'\n');
        assert_eq!(header("<f4", 3, Some(2)), expected);
        assert!(
            header("<i8", 7, None)
                .windows(4)
                .any(|part| part == b"(7,)")
        );
        assert_eq!(header("<f4", u64::MAX, Some(usize::MAX)).len(), HEADER);
    }
}
