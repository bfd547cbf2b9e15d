//! Sparse symmetric weights between neighbours.

use rayon::prelude::*;

use crate::space::neighbors::Graph;

/// Symmetric weights of neighbour pairs, in compressed rows.
pub(super) struct SparseRows {
    /// The entries of row `i` are `entries[starts[i]..starts[i + 1]]`, by ascending column.
    starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl SparseRows {
    /// Symmetrises the directed weights `directed[i * k + rank]` of each point to its first `k` neighbours.
    ///
    /// `combine` is a symmetric function of the two weights of a pair; a missing one is 0.
    pub fn symmetric(
        neighbors: &Graph,
        k: usize,
        directed: &[f32],
        combine: impl Fn(f32, f32) -> f32 + Sync,
    ) -> SparseRows {
        let n = neighbors.rows();
        let targets = |i: usize| {
            neighbors.row(i)[..k]
                .iter()
                .map(|neighbor| neighbor.id as usize)
        };
        // Incoming weights of each point, by ascending source.
        let mut incoming_starts = vec![0usize; n + 1];
        for i in 0..n {
            for target in targets(i) {
                incoming_starts[target + 1] += 1;
            }
        }
        for i in 0..n {
            incoming_starts[i + 1] += incoming_starts[i];
        }
        let mut incoming = vec![(0u32, 0f32); n * k];
        let mut next = incoming_starts.clone();
        for i in 0..n {
            for (target, &weight) in targets(i).zip(&directed[i * k..(i + 1) * k]) {
                incoming[next[target]] = (i as u32, weight);
                next[target] += 1;
            }
        }
        let rows: Vec<Vec<(u32, f32)>> = (0..n)
            .into_par_iter()
            .map(|i| {
                let mut ours: Vec<(u32, f32)> = (neighbors.row(i)[..k].iter())
                    .zip(&directed[i * k..(i + 1) * k])
                    .map(|(neighbor, &weight)| (neighbor.id, weight))
                    .collect();
                ours.sort_unstable_by_key(|&(id, _)| id);
                union(
                    &ours,
                    &incoming[incoming_starts[i]..incoming_starts[i + 1]],
                    &combine,
                )
            })
            .collect();
        let mut starts = vec![0];
        let mut entries = Vec::with_capacity(rows.iter().map(Vec::len).sum());
        for row in rows {
            entries.extend(row);
            starts.push(entries.len());
        }
        SparseRows { starts, entries }
    }

    /// Columns and weights of row `i`.
    pub fn row(&self, i: usize) -> &[(u32, f32)] {
        &self.entries[self.starts[i]..self.starts[i + 1]]
    }

    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Removes the entries for whose weight `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(f32) -> bool) {
        let (mut kept, mut start) = (0, 0);
        for row in 0..self.rows() {
            let end = self.starts[row + 1];
            for at in start..end {
                if keep(self.entries[at].1) {
                    self.entries[kept] = self.entries[at];
                    kept += 1;
                }
            }
            start = end;
            self.starts[row + 1] = kept;
        }
        self.entries.truncate(kept);
    }

    /// Splits each row's entries round robin into `parts` matrices, with a different start in each row.
    pub fn split(&self, parts: usize) -> Vec<SparseRows> {
        (0..parts)
            .map(|part| {
                let mut starts = vec![0];
                let mut entries = Vec::with_capacity(self.entries.len() / parts + 1);
                for i in 0..self.rows() {
                    let first = (part + i) % parts;
                    entries.extend(self.row(i).iter().skip(first).step_by(parts));
                    starts.push(entries.len());
                }
                SparseRows { starts, entries }
            })
            .collect()
    }

    pub fn entries_mut(&mut self) -> &mut [(u32, f32)] {
        &mut self.entries
    }
}

/// Merges two lists sorted by id; an id missing in one list has weight 0 there.
fn union(
    ours: &[(u32, f32)],
    theirs: &[(u32, f32)],
    combine: &impl Fn(f32, f32) -> f32,
) -> Vec<(u32, f32)> {
    let mut out = Vec::with_capacity(ours.len() + theirs.len());
    let (mut a, mut b) = (0, 0);
    while a < ours.len() || b < theirs.len() {
        let id_a = ours.get(a).map_or(u32::MAX, |entry| entry.0);
        let id_b = theirs.get(b).map_or(u32::MAX, |entry| entry.0);
        let id = id_a.min(id_b);
        let (mut from_a, mut from_b) = (0.0, 0.0);
        if id_a == id && a < ours.len() {
            from_a = ours[a].1;
            a += 1;
        }
        if id_b == id && b < theirs.len() {
            from_b = theirs[b].1;
            b += 1;
        }
        out.push((id, combine(from_a, from_b)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::neighbors::Neighbor;

    #[test]
    fn both_directions_are_combined_once() {
        // 0 → 1, 1 → 2, 2 → 1.
        let neighbors = Graph {
            k: 1,
            neighbors: [1, 2, 1].map(|id| Neighbor { id, distance: 1.0 }).to_vec(),
        };
        let mut rows = SparseRows::symmetric(&neighbors, 1, &[0.5, 0.25, 1.0], |a, b| a + b);
        assert_eq!(rows.rows(), 3);
        assert_eq!(rows.row(0), [(1, 0.5)]);
        assert_eq!(rows.row(1), [(0, 0.5), (2, 1.25)]);
        assert_eq!(rows.row(2), [(1, 1.25)]);
        let parts = rows.split(2);
        assert_eq!([parts[0].row(0), parts[1].row(0)], [&[(1, 0.5)][..], &[]]);
        assert_eq!(
            [parts[0].row(1), parts[1].row(1)],
            [[(2, 1.25)], [(0, 0.5)]]
        );
        rows.retain(|weight| weight > 1.0);
        assert!(rows.row(0).is_empty());
        assert_eq!(rows.row(1), [(2, 1.25)]);
        assert_eq!(rows.row(2), [(1, 1.25)]);
    }
}
