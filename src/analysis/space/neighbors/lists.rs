//! The nearest so far.

use super::Neighbor;

/// The nearest of one row, nearest first, ties by id; at most `k`.
///
/// What it ends with does not depend on the order in which neighbours are offered.
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

    /// Takes `one` if it is among the nearest. Each id is offered once.
    pub fn offer(&mut self, one: Neighbor) {
        let place = self.items.partition_point(|held| before(held, &one));
        if place < self.k {
            self.items.truncate(self.k - 1);
            self.items.insert(place, one);
        }
    }

    /// The distance from which on nothing is taken any more, ties aside; infinite while there is room.
    pub fn reach(&self) -> f32 {
        match self.items.last() {
            _ if self.items.len() < self.k => f32::INFINITY,
            Some(last) => last.distance,
            None => f32::NEG_INFINITY,
        }
    }

    /// Whether `one` would be taken.
    pub fn wants(&self, one: &Neighbor) -> bool {
        match self.items.last() {
            _ if self.items.len() < self.k => true,
            Some(last) => before(one, last),
            None => false,
        }
    }

    pub fn items(&self) -> &[Neighbor] {
        &self.items
    }

    /// Takes what is nearest of another list of the same row; ids that are in both are taken once.
    pub fn merge(&mut self, other: &[Neighbor]) {
        for one in other {
            if !self.wants(one) {
                break;
            }
            if self.items.iter().all(|held| held.id != one.id) {
                self.offer(*one);
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
