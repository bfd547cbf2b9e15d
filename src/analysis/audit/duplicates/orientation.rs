//! The eight orientations of a square picture: quarter turns, mirrored or not.

use prospect_common::names;

/// Width and height of a perceptual hash, in frequencies.
const FREQUENCIES: usize = 8;

names! {
    /// How a picture lies on another one. Rotations are clockwise; those that are mirrored are mirrored at the vertical axis first.
    pub enum Orientation {
        Upright = "upright",
        Mirrored = "mirrored",
        Rotated90 = "rotated 90",
        Rotated180 = "rotated 180",
        Rotated270 = "rotated 270",
        Mirrored90 = "mirrored, rotated 90",
        Mirrored180 = "mirrored, rotated 180",
        Mirrored270 = "mirrored, rotated 270",
    }
}

impl Orientation {
    /// Those that differ by more than a mirror at the vertical axis.
    pub const TURNED: [Orientation; 6] = [
        Orientation::Rotated90,
        Orientation::Rotated180,
        Orientation::Rotated270,
        Orientation::Mirrored90,
        Orientation::Mirrored180,
        Orientation::Mirrored270,
    ];

    /// Row and column are swapped; then which of the two are counted from the other end.
    fn axes(self) -> (bool, [bool; 2]) {
        match self {
            Orientation::Upright => (false, [false, false]),
            Orientation::Mirrored => (false, [false, true]),
            Orientation::Rotated90 => (true, [true, false]),
            Orientation::Rotated180 => (false, [true, true]),
            Orientation::Rotated270 => (true, [false, true]),
            Orientation::Mirrored90 => (true, [true, true]),
            Orientation::Mirrored180 => (false, [true, false]),
            Orientation::Mirrored270 => (true, [false, false]),
        }
    }

    /// This orientation, then mirrored at the vertical axis.
    pub fn then_mirrored(self) -> Orientation {
        match self {
            Orientation::Upright => Orientation::Mirrored,
            Orientation::Mirrored => Orientation::Upright,
            Orientation::Rotated90 => Orientation::Mirrored270,
            Orientation::Rotated180 => Orientation::Mirrored180,
            Orientation::Rotated270 => Orientation::Mirrored90,
            Orientation::Mirrored90 => Orientation::Rotated270,
            Orientation::Mirrored180 => Orientation::Rotated180,
            Orientation::Mirrored270 => Orientation::Rotated90,
        }
    }

    /// Turns `[side, side]` values.
    pub fn of<T: Copy>(self, values: &[T], side: usize) -> Vec<T> {
        let (swapped, reversed) = self.axes();
        let axes = [(side, reversed[0]), (1, reversed[1])];
        let [down, across] = if swapped { [axes[1], axes[0]] } else { axes };
        let start = |(stride, is_reversed)| if is_reversed { stride * (side - 1) } else { 0 };
        let step = |from: usize, at: usize, (stride, is_reversed): (usize, bool)| {
            if is_reversed {
                from - at * stride
            } else {
                from + at * stride
            }
        };
        let mut turned = Vec::with_capacity(side * side);
        for row in 0..side {
            let first = step(start(down) + start(across), row, down);
            turned.extend((0..side).map(|col| values[step(first, col, across)]));
        }
        turned
    }

    /// The perceptual hash of a picture after turning it, from its own; but for frequencies near their median. Odd frequencies of
    /// a reversed axis change sign. See [`prospect_dataset::image::Quality::phash`].
    pub fn of_hash(self, hash: u64) -> u64 {
        let (swapped, reversed) = self.axes();
        (0..FREQUENCIES * FREQUENCIES).fold(0, |turned, at| {
            let (row, col) = (at / FREQUENCIES, at % FREQUENCIES);
            let (row, col) = if swapped { (col, row) } else { (row, col) };
            let changes = (reversed[0] && row % 2 == 1) != (reversed[1] && col % 2 == 1);
            let bit = hash >> (63 - (row * FREQUENCIES + col)) & 1;
            turned << 1 | (bit ^ u64::from(changes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarter_turns_are_clockwise() {
        let turned = |orientation: Orientation| orientation.of(&[1, 2, 3, 4], 2);
        assert_eq!(turned(Orientation::Upright), [1, 2, 3, 4]);
        assert_eq!(turned(Orientation::Mirrored), [2, 1, 4, 3]);
        assert_eq!(turned(Orientation::Rotated90), [3, 1, 4, 2]);
        assert_eq!(turned(Orientation::Rotated180), [4, 3, 2, 1]);
        assert_eq!(turned(Orientation::Rotated270), [2, 4, 1, 3]);
        assert_eq!(turned(Orientation::Mirrored90), [4, 2, 3, 1]);
        assert_eq!(turned(Orientation::Mirrored180), [3, 4, 1, 2]);
        assert_eq!(turned(Orientation::Mirrored270), [1, 3, 2, 4]);
        for orientation in Orientation::ALL {
            let mirrored = Orientation::Mirrored.of(&turned(orientation), 2);
            assert_eq!(turned(orientation.then_mirrored()), mirrored);
        }
    }

    /// The hash's bits as signs of cosines: frequency f at position x of `side` has the sign of cos(pi f (x + 1/2) / side).
    #[test]
    fn a_hash_turns_as_its_picture_does() {
        const SIDE: usize = 32;
        let basis = |frequency: usize, at: usize| {
            (std::f32::consts::PI * frequency as f32 * (at as f32 + 0.5) / SIDE as f32).cos()
        };
        let value = |at: usize| ((at * 7919 + at / 32 * 104_729) % 1009) as f32 - 504.0;
        let picture: Vec<f32> = (0..SIDE * SIDE).map(value).collect();
        let hash = |picture: &[f32]| {
            (0..64).fold(0, |hash: u64, bit| {
                let terms = picture.iter().enumerate().map(|(at, value)| {
                    value * basis(bit / 8, at / SIDE) * basis(bit % 8, at % SIDE)
                });
                // The median of many frequencies is near 0.
                hash << 1 | u64::from(terms.sum::<f32>() > 0.0)
            })
        };
        for orientation in Orientation::ALL {
            let turned = hash(&orientation.of(&picture, SIDE));
            let bits = (turned ^ orientation.of_hash(hash(&picture))).count_ones();
            // The mean of the picture may be 0.
            assert!(bits <= 1, "{orientation}: {bits}");
        }
    }
}
