//! Matrix pictures: choice and order of the classes, title and legend.

use std::collections::{BTreeMap, BTreeSet};

use prospect_analysis::space::confusion::{Pair, agreement, most_confused, order};
use prospect_common::{
    Error, Result,
    text::{count, percent},
};
use prospect_engine::tables::classes::name_of;
use prospect_output::picture::{
    PictureError,
    matrix::{Cell, Entry, Figures, MAX_CLASSES, Matrix, matrix_picture},
    png,
};

use super::count::PairCounts;

/// Pairs listed beside a matrix.
const NAMED: usize = 40;

/// Names and contents of `confusion.png`, if the network knows any labels, and `overlap.png`, if any neighbours are labelled.
pub fn draw(counted: &PairCounts) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let mut files = Vec::new();
    if let Some(right) = agreement(&counted.confusion) {
        let images: u64 = counted.confusion.iter().map(|pair| pair.count).sum();
        let labels = counted.confusion.iter().map(|pair| pair.from).collect();
        let drawing = Drawing {
            title: "Confusion matrix",
            subtitle: format!("accuracy {} on {} images", percent(right), count(images)),
            axes: ["label", "predicted class"],
            of: "of the label's images",
            figures: Figures::Counts,
            list: "most confused: label › prediction",
            together: "confused classes",
            pairs: &counted.confusion,
            classes: labels,
            names: &counted.names.network,
        };
        files.push(("confusion.png", drawing.draw()));
    }
    if let Some(own) = agreement(&counted.overlap) {
        let both = counted.overlap.iter().flat_map(|pair| [pair.from, pair.to]);
        let drawing = Drawing {
            title: "Class overlap in feature space",
            subtitle: format!(
                "{} of the {} nearest neighbours share the image's label",
                percent(own),
                counted.k
            ),
            axes: ["label", "label of the neighbours"],
            of: "of the class's neighbours",
            figures: Figures::Percent,
            list: "largest overlap: class › its neighbours",
            together: "overlapping classes",
            pairs: &counted.overlap,
            classes: both.collect(),
            names: &counted.names.dataset,
        };
        files.push(("overlap.png", drawing.draw()));
    }
    let files = files.into_iter().map(|(name, file)| {
        let wrong =
            |error: PictureError| Error::internal(format!("pictures/confusion/{name}"), error);
        Ok((name, file.map_err(wrong)?))
    });
    files.collect()
}

struct Drawing<'a> {
    title: &'a str,
    subtitle: String,
    axes: [&'a str; 2],
    of: &'a str,
    figures: Figures,
    list: &'a str,
    /// Classes that the order makes adjacent.
    together: &'a str,
    pairs: &'a [Pair],
    /// Rows and columns; all other classes share the last column.
    classes: BTreeSet<u32>,
    names: &'a BTreeMap<i32, String>,
}

impl Drawing<'_> {
    fn draw(&self) -> Result<Vec<u8>, PictureError> {
        let shown = shown(&self.classes, self.pairs);
        let place: BTreeMap<u32, u32> = shown.iter().copied().zip(0..).collect();
        let n = shown.len();
        // Pairs by the positions of their classes; n is the column of all other classes.
        let within: Vec<Pair> = (self.pairs.iter())
            .filter_map(|pair| {
                Some(Pair {
                    from: *place.get(&pair.from)?,
                    to: place.get(&pair.to).copied().unwrap_or(n as u32),
                    ..*pair
                })
            })
            .collect();
        let order = order(n, &within);
        let mut rank = vec![0; n + 1];
        for (at, &place) in order.iter().enumerate() {
            rank[place as usize] = at;
        }
        rank[n] = n;
        let mut cells: BTreeMap<(usize, usize), Cell> = BTreeMap::new();
        for pair in &within {
            let (row, column) = (rank[pair.from as usize], rank[pair.to as usize]);
            let cell = cells.entry((row, column)).or_insert(Cell {
                row,
                column,
                count: 0,
                share: 0.0,
            });
            cell.count += pair.count;
            cell.share += pair.share;
        }
        let others = within.iter().any(|pair| pair.to as usize == n);
        let cells: Vec<Cell> = cells.into_values().collect();
        let name = |class: u32| name_of(self.names, class as i32);
        let names: Vec<String> = (order.iter())
            .map(|&place| name(shown[place as usize]))
            .collect();
        let entries = most_confused(self.pairs, NAMED)
            .into_iter()
            .map(|pair| Entry {
                text: format!("{} › {}", name(pair.from), name(pair.to)),
                figure: format!("{} · {}", count(pair.count), percent(pair.share)),
            });
        let entries: Vec<Entry> = entries.collect();
        let mut subtitle = self.subtitle.clone();
        if n < self.classes.len() {
            let (shown, all) = (count(n as u64), count(self.classes.len() as u64));
            subtitle += &format!(" · the {shown} most confused of {all} classes");
        }
        if n > 2 {
            subtitle += &format!(" · {} are adjacent", self.together);
        }
        png(&matrix_picture(&Matrix {
            title: self.title,
            subtitle: &subtitle,
            names: &names,
            other: others.then_some("other classes"),
            cells: &cells,
            axes: self.axes,
            of: self.of,
            figures: self.figures,
            list: (self.list, &entries),
        })?)
    }
}

/// The most confused classes, as many as a matrix can show, sorted by number.
fn shown(classes: &BTreeSet<u32>, pairs: &[Pair]) -> Vec<u32> {
    let mut confused: BTreeMap<u32, u64> = classes.iter().map(|&class| (class, 0)).collect();
    for pair in pairs.iter().filter(|pair| pair.from != pair.to) {
        for class in [pair.from, pair.to] {
            if let Some(count) = confused.get_mut(&class) {
                *count += pair.count;
            }
        }
    }
    let mut ranked: Vec<(u32, u64)> = confused.into_iter().collect();
    // Stable: equally confused classes stay in the order of their numbers.
    ranked.sort_by_key(|class| std::cmp::Reverse(class.1));
    let mut shown: Vec<u32> = (ranked.into_iter())
        .take(MAX_CLASSES)
        .map(|(class, _)| class)
        .collect();
    shown.sort_unstable();
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_most_confused_of_many_classes_are_drawn() {
        let pair = |from, to, count| Pair {
            from,
            to,
            count,
            share: 0.5,
        };
        let n = MAX_CLASSES as u32 + 50;
        let classes: BTreeSet<u32> = (0..n).collect();
        let mut pairs: Vec<Pair> = (0..n).map(|class| pair(class, class, 9)).collect();
        // The last 60 classes are confused with class 3.
        pairs.extend((n - 60..n).map(|class| pair(class, 3, 1)));
        let drawn = shown(&classes, &pairs);
        assert_eq!(drawn.len(), MAX_CLASSES);
        assert!(drawn.is_sorted() && drawn.contains(&3));
        assert!((n - 60..n).all(|class| drawn.contains(&class)));
        assert!(drawn.contains(&0) && !drawn.contains(&(n - 61)));
        let names = BTreeMap::new();
        let drawing = Drawing {
            title: "",
            subtitle: String::new(),
            axes: ["", ""],
            of: "",
            figures: Figures::Counts,
            list: "",
            together: "",
            pairs: &pairs,
            classes,
            names: &names,
        };
        drawing.draw().unwrap();
    }
}
