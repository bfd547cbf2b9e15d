//! Bounded lists of nearest neighbours.

use super::Neighbor;

/// Up to `k` nearest neighbours of one row, nearest first, ties by id.
///
/// The result does not depend on the order of offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    k: usize,
    items: Vec<Neighbor>,
}

impl Nearest {
    pub fn new(k: usize) -> Nearest {
        Nearest {
            k,
            items: Vec::with_capacity(k),
        }
    }

    /// Inserts `neighbor` if it is among the nearest. Each id may be offered once only.
    pub fn offer(&mut self, neighbor: Neighbor) {
        let index = self.items.partition_point(|known| before(known, &neighbor));
        if index < self.k {
            self.items.truncate(self.k - 1);
            self.items.insert(index, neighbor);
        }
    }

    /// Distance beyond which no neighbour is accepted; infinite while the list is not full.
    pub fn radius(&self) -> f32 {
        match self.items.last() {
            _ if self.items.len() < self.k => f32::INFINITY,
            Some(last) => last.distance,
            None => f32::NEG_INFINITY,
        }
    }

    /// Whether `neighbor` would be inserted.
    pub fn accepts(&self, neighbor: &Neighbor) -> bool {
        match self.items.last() {
            _ if self.items.len() < self.k => true,
            Some(last) => before(neighbor, last),
            None => false,
        }
    }

    pub fn items(&self) -> &[Neighbor] {
        &self.items
    }

    /// Merges another list of the same row; ids in both are inserted once.
    pub fn merge(&mut self, other: &[Neighbor]) {
        for neighbor in other {
            if !self.accepts(neighbor) {
                break;
            }
            if self.items.iter().all(|known| known.id != neighbor.id) {
                self.offer(*neighbor);
            }
        }
    }
}

impl From<Nearest> for Vec<Neighbor> {
    fn from(nearest: Nearest) -> Vec<Neighbor> {
        nearest.items
    }
}

fn before(a: &Neighbor, b: &Neighbor) -> bool {
    a.distance < b.distance || (a.distance == b.distance && a.id < b.id)
}
