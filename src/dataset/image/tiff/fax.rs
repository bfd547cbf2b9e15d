//! CCITT compression of bilevel images, T.4 and T.6: what libtiff makes of sound and of damaged lines.
//!
//! A line is a list of runs, white and black in turn. A line with a fault is white from there on; group 3 goes on after the
//! next end-of-line code.

use fax::{
    BitReader,
    maps::{Mode, black, mode, white},
};

use super::fault::{Fault, Outcome};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Lines start at a byte, or at a word of 16 bits, without end-of-line codes.
    Rle {
        words: bool,
    },
    /// Lines end with a code; two-dimensional ones also say which of the two codings the next one has.
    Group3 {
        two_dimensional: bool,
    },
    Group4,
}

/// Why a line stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Complete, or as far as it was readable.
    Done,
    /// An end-of-line code, of which the final 1 has not been read.
    EndOfLine,
    EndOfData,
}

/// Decodes lines of `width` pixels: bit 0 is white, 1 is black.
pub(super) fn decode(bytes: &[u8], scheme: Scheme, width: usize, out: &mut [u8]) -> Outcome {
    let mut decoder = Decoder {
        bits: Bits { bytes, at: 0 },
        width: width as i64,
        above: vec![width as i64, 0],
        line: Line::default(),
        fault: None,
    };
    let row_bytes = width.div_ceil(8).max(1);
    let mut n_rows = 0;
    let mut with_codes = matches!(scheme, Scheme::Group3 { .. });
    let mut in_code = false;
    let mut early = None;
    for row in out.chunks_exact_mut(row_bytes) {
        if with_codes && !decoder.skip_end_of_line(in_code) {
            if n_rows > 0 {
                early = Some(Fault::early());
                break;
            }
            // No line has a code: read them one after the other.
            with_codes = false;
            decoder.bits.at = 0;
        }
        decoder.line = Line::default();
        let stop = match scheme {
            Scheme::Group4 => decoder.two_dimensional(),
            Scheme::Group3 {
                two_dimensional: true,
            } if decoder.bits.take(1) == 0 => decoder.two_dimensional(),
            _ => decoder.one_dimensional(),
        };
        in_code = stop == Stop::EndOfLine;
        if scheme == Scheme::Group4 && in_code {
            // The end of the image. Writers may leave out white lines.
            n_rows = out.len() / row_bytes;
            break;
        }
        decoder.clean_up();
        if stop == Stop::EndOfData {
            early = Some(Fault::damaged("CCITT data ends early"));
            break;
        }
        fill(row, &decoder.line.runs);
        n_rows += 1;
        if let Scheme::Rle { words } = scheme {
            decoder.bits.at = decoder.bits.at.next_multiple_of(if words { 16 } else { 8 });
        }
        std::mem::swap(&mut decoder.above, &mut decoder.line.runs);
        // An imaginary change ends the line above.
        decoder.above.push(0);
    }
    Outcome {
        n_bytes: n_rows * row_bytes,
        fault: early.or(decoder.fault),
    }
}

/// The line that is being read.
#[derive(Default)]
struct Line {
    runs: Vec<i64>,
    /// Where the next run starts, with its make-up codes.
    at: i64,
    /// The sum of make-up codes that wait for their terminating code.
    pending: i64,
}

impl Line {
    fn push(&mut self, run: i64) {
        self.runs.push(self.pending + run);
        self.at += run;
        self.pending = 0;
    }

    fn make_up(&mut self, run: i64) {
        self.at += run;
        self.pending += run;
    }
}

struct Decoder<'a> {
    bits: Bits<'a>,
    width: i64,
    above: Vec<i64>,
    line: Line,
    /// The first fault.
    fault: Option<Fault>,
}

impl Decoder<'_> {
    fn damaged(&mut self) -> Stop {
        self.fault
            .get_or_insert(Fault::damaged("damaged CCITT lines"));
        Stop::Done
    }

    /// Moves past the next end-of-line code; `false` where none is left.
    fn skip_end_of_line(&mut self, in_code: bool) -> bool {
        while !in_code && self.bits.ahead(11) != 0 {
            self.bits.at += 1;
            if self.bits.is_at_end() {
                return false;
            }
        }
        while !self.bits.is_at_end() {
            if self.bits.take(1) == 1 {
                return true;
            }
        }
        false
    }

    /// A run with its make-up codes.
    fn run(&mut self, is_black: bool) -> Result<(), Stop> {
        loop {
            if self.bits.is_at_end() {
                return Err(Stop::EndOfData);
            }
            if self.bits.ahead(11) == 0 {
                self.bits.at += 11;
                return Err(Stop::EndOfLine);
            }
            let before = self.bits.at;
            let run = if is_black {
                black::decode(&mut self.bits)
            } else {
                white::decode(&mut self.bits)
            };
            match run {
                Some(run @ 0..64) => {
                    self.line.push(i64::from(run));
                    return Ok(());
                }
                Some(run) => self.line.make_up(i64::from(run)),
                None => {
                    self.bits.at = before;
                    return Err(self.damaged());
                }
            }
        }
    }

    fn one_dimensional(&mut self) -> Stop {
        loop {
            for is_black in [false, true] {
                if let Err(stop) = self.run(is_black) {
                    return stop;
                }
                if self.line.at >= self.width {
                    return Stop::Done;
                }
            }
            if self.line.runs.ends_with(&[0, 0]) {
                self.line.runs.truncate(self.line.runs.len() - 2);
            }
        }
    }

    fn two_dimensional(&mut self) -> Stop {
        let above = std::mem::take(&mut self.above);
        let stop = self.two_dimensional_below(&above);
        self.above = above;
        stop
    }

    fn two_dimensional_below(&mut self, above: &[i64]) -> Stop {
        let change = |i: usize| above.get(i).copied().unwrap_or(0);
        // The next change above is at `b1`, where the run `next - 1` ends.
        let (mut b1, mut next) = (change(0), 1);
        while self.line.at < self.width {
            if self.line.runs.len() > 2 * above.len().max(self.width as usize) + 64 {
                return self.damaged();
            }
            if self.bits.is_at_end() {
                return Stop::EndOfData;
            }
            if self.bits.ahead(7) == 0 {
                let is_code = self.bits.ahead(11) == 0;
                self.bits.at += 11;
                if !is_code {
                    self.damaged();
                }
                return Stop::EndOfLine;
            }
            let before = self.bits.at;
            let Some(mode) = mode::decode(&mut self.bits) else {
                self.bits.at = before;
                return self.damaged();
            };
            if let Mode::Horizontal = mode {
                let black_first = self.line.runs.len() % 2 == 1;
                for is_black in [black_first, !black_first] {
                    match self.run(is_black) {
                        Ok(()) => {}
                        Err(Stop::EndOfLine) => {
                            self.bits.at -= 11;
                            return self.damaged();
                        }
                        Err(stop) => return stop,
                    }
                }
            }
            if !self.line.runs.is_empty() {
                while b1 <= self.line.at && b1 < self.width && next < above.len() {
                    b1 += change(next) + change(next + 1);
                    next += 2;
                }
            }
            match mode {
                Mode::Pass => {
                    b1 += change(next);
                    self.line.make_up(b1 - self.line.at);
                    b1 += change(next + 1);
                    next += 2;
                }
                Mode::Vertical(by) => {
                    let run = b1 - self.line.at + i64::from(by);
                    if run < 0 {
                        return self.damaged();
                    }
                    self.line.push(run);
                    if by >= 0 {
                        b1 += change(next);
                        next += 1;
                    } else if let Some(previous) = next.checked_sub(1) {
                        next = previous;
                        b1 -= change(next);
                    }
                }
                Mode::Horizontal => {}
                // Uncompressed data, which libtiff does not read either.
                Mode::Extension | Mode::EOF => return self.damaged(),
            }
        }
        Stop::Done
    }

    /// Makes the runs fill the line: those beyond its end are cut, and what is missing is white.
    fn clean_up(&mut self) {
        let (width, line) = (self.width, &mut self.line);
        if line.pending > 0 {
            line.push(0);
        }
        if line.at == width {
            return;
        }
        while line.at > width
            && let Some(run) = line.runs.pop()
        {
            line.at -= run;
        }
        let rest = width - line.at.max(0);
        if rest > 0 {
            if line.runs.len() % 2 == 1 {
                line.runs.push(0);
            }
            line.runs.push(rest);
        }
        self.damaged();
    }
}

/// Sets the bits of black runs.
fn fill(row: &mut [u8], runs: &[i64]) {
    let n_bits = row.len() * 8;
    let mut at = 0_usize;
    for (i, &run) in runs.iter().enumerate() {
        let end = at
            .saturating_add(usize::try_from(run).unwrap_or(0))
            .min(n_bits);
        if i % 2 == 1 && end > at {
            let (first, last) = (at / 8, (end - 1) / 8);
            let start_mask = 0xFF >> (at % 8);
            let end_mask = 0xFF << (7 - (end - 1) % 8);
            if first == last {
                row[first] |= start_mask & end_mask;
            } else {
                row[first] |= start_mask;
                row[first + 1..last].fill(0xFF);
                row[last] |= end_mask;
            }
        }
        at = end;
    }
}

/// Bits from the high one. Beyond the end, they are 0.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len() * 8
    }

    fn ahead(&self, n: u8) -> u16 {
        let start = self.at / 8;
        let byte = |i: usize| u32::from(self.bytes.get(start + i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        (word >> (24 - self.at % 8 - usize::from(n)) & ((1 << n) - 1)) as u16
    }

    fn take(&mut self, n: u8) -> u16 {
        let bits = self.ahead(n);
        self.at += usize::from(n);
        bits
    }
}

impl BitReader for Bits<'_> {
    type Error = std::convert::Infallible;

    fn peek(&self, bits: u8) -> Option<u16> {
        (bits <= 16).then(|| self.ahead(bits))
    }

    fn consume(&mut self, bits: u8) -> Result<(), Self::Error> {
        self.at += usize::from(bits);
        Ok(())
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        (8 - self.at % 8) as u8 % 8
    }
}
