//! Colour casts of one class: its pictures were taken, scanned or edited in another light than all others.

use crate::audit::significance::kolmogorov_tail;

/// White balance of a picture: warmth and tint, both 0 for neutral light.
pub type Balance = [f64; 2];

/// A class whose pictures differ in the colour of the light from all others.
#[derive(Debug, Clone, PartialEq)]
pub struct Cast {
    pub class: u32,
    /// Index into [`Balance`].
    pub axis: usize,
    /// The value that separates the class best; its pictures are on the far side of it from neutral.
    pub limit: f64,
    /// Fractions of the class and of all others beyond the limit.
    pub of_class: f64,
    pub of_others: f64,
    /// Of the two-sample Kolmogorov–Smirnov test, the class against all others.
    pub p_value: f64,
}

impl Cast {
    pub fn has(&self, balance: &Balance) -> bool {
        let value = balance[self.axis];
        if self.limit < 0.0 {
            value < self.limit
        } else {
            value > self.limit
        }
    }
}

/// For each class and axis, the limit beyond which are most more of the class's pictures than of all others. Of two classes, the
/// one with the cast is the one further from neutral.
pub fn casts(pictures: &[(u32, Balance)], classes: usize) -> Vec<Cast> {
    let mut images = vec![0_usize; classes];
    for (class, _) in pictures {
        images[*class as usize] += 1;
    }
    (0..2)
        .flat_map(|axis| of_axis(pictures, &images, axis))
        .collect()
}

fn of_axis(pictures: &[(u32, Balance)], images: &[usize], axis: usize) -> Vec<Cast> {
    let n = pictures.len();
    let mut values: Vec<(f64, u32)> = pictures.iter().map(|one| (one.1[axis], one.0)).collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The largest differences of the two distribution functions are at values of the class.
    let mut best: Vec<Option<Cast>> = vec![None; images.len()];
    let mut below = vec![0_usize; images.len()];
    let mut first = 0;
    for equal in values.chunk_by(|a, b| a.0 == b.0) {
        let last = first + equal.len();
        for at in [first, last] {
            if at == last {
                equal
                    .iter()
                    .for_each(|(_, class)| below[*class as usize] += 1);
            }
            let limit = between(&values, at);
            for (_, class) in equal {
                let (own, own_below) = (images[*class as usize], below[*class as usize]);
                let beyond = |below: usize, all: usize| match limit < 0.0 {
                    true => below as f64 / all.max(1) as f64,
                    false => 1.0 - below as f64 / all.max(1) as f64,
                };
                let of_class = beyond(own_below, own);
                let of_others = beyond(at - own_below, n - own);
                let excess = of_class - of_others;
                let best = &mut best[*class as usize];
                let before = best
                    .as_ref()
                    .map_or(0.0, |one| one.of_class - one.of_others);
                if own < n && excess > before {
                    *best = Some(Cast {
                        class: *class,
                        axis,
                        limit,
                        of_class,
                        of_others,
                        p_value: kolmogorov_tail(excess, own, n - own),
                    });
                }
            }
        }
        first = last;
    }
    best.into_iter().flatten().collect()
}

/// Between the values before and from a place on.
fn between(values: &[(f64, u32)], at: usize) -> f64 {
    let before = at.checked_sub(1).map(|at| values[at].0);
    let after = values.get(at).map(|one| one.0);
    match (before, after) {
        (Some(before), Some(after)) => (before + after) / 2.0,
        (one, other) => one.or(other).unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Neutral light with some spread; a share of the pictures of class 0 is shifted.
    fn pictures(share: f64, shift: Balance, classes: u32, n: usize) -> Vec<(u32, Balance)> {
        let mut random = StdRng::seed_from_u64(3);
        let mut noise = || (0..6).map(|_| random.random::<f64>() - 0.5).sum::<f64>();
        (0..n)
            .map(|at| {
                let class = at as u32 % classes;
                let is_shifted = class == 0 && (at as f64 / n as f64) < share;
                let balance = [0.1 * noise(), 0.05 * noise()];
                let shifted = [balance[0] + shift[0], balance[1] + shift[1]];
                (class, if is_shifted { shifted } else { balance })
            })
            .collect()
    }

    #[test]
    fn a_cast_is_of_the_class_further_from_neutral() {
        for (classes, shift, axis) in [(2, [0.3, 0.0], 0), (2, [-0.3, 0.0], 0), (10, [0.0, 0.2], 1)]
        {
            let all = pictures(0.9, shift, classes, 100 * classes as usize);
            let found = casts(&all, classes as usize);
            let excess = |one: &&Cast| one.of_class - one.of_others;
            let strongest = found
                .iter()
                .max_by(|a, b| excess(a).total_cmp(&excess(b)))
                .unwrap();
            assert_eq!((strongest.class, strongest.axis), (0, axis));
            assert!(
                excess(&strongest) > 0.8 && strongest.p_value < 1e-20,
                "{strongest:?}"
            );
            let others = found.iter().filter(|one| one.class != 0);
            assert!(others.clone().all(|one| excess(&one) < 0.5), "{found:?}");
            // The fractions are those of the limit.
            let beyond = |own: bool| {
                let of = all.iter().filter(|one| (one.0 == 0) == own);
                let n = of.clone().count() as f64;
                of.filter(|one| strongest.has(&one.1)).count() as f64 / n
            };
            assert!((beyond(true) - strongest.of_class).abs() < 1e-9);
            assert!((beyond(false) - strongest.of_others).abs() < 1e-9);
        }
    }

    #[test]
    fn classes_in_the_same_light_have_no_significant_cast() {
        let found = casts(&pictures(0.0, [0.0; 2], 5, 1000), 5);
        assert!(found.iter().all(|one| one.p_value > 0.01), "{found:?}");
        // Grey pictures, and a single class.
        assert!(casts(&[(0, [0.0; 2]), (1, [0.0; 2])], 2).is_empty());
        assert!(casts(&[(0, [0.1; 2]), (0, [0.2; 2])], 1).is_empty());
    }
}
