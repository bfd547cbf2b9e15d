//! Sheets of an answer's rows: of each its picture, or the two pictures that it compares, and what it says.

use prospect_common::text;

use super::{
    MAX_GRID_SIDE, Picture, PictureError,
    caption::{draw_place, draw_text, fitted, line_height, wrapped},
    palette::sheet::{BACKGROUND, INK},
};

/// Longest side of a picture on a sheet.
pub const SIDE: u32 = 192;
/// Most rows that are drawn.
pub const MOST: usize = 1000;
/// Lines of a card's caption.
const LINES: usize = 8;
/// Lines that one long text of a caption may take.
const FOLDED: usize = 3;
/// A sheet is at most so wide, and at most so high unless a single row of cards is higher.
const WIDTH: u32 = 1800;
const HEIGHT: u32 = 8192;
/// Between cards and round the sheet.
const MARGIN: u32 = 16;
/// Between a card's pictures, and between them and the caption.
const GAP: u32 = 6;
const LETTERS: f32 = 12.0;
const HEADING: f32 = 15.0;

/// A row of an answer.
#[derive(Debug, Clone)]
pub struct Card {
    /// At most [`SIDE`] wide and high; `None` where it cannot be shown.
    pub pictures: Vec<Option<Picture>>,
    /// The caption; a long text goes on in the next lines.
    pub texts: Vec<String>,
}

/// How the cards of an answer stand on their sheets: alike on all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pictures: u32,
    columns: u32,
    rows: u32,
}

impl Page {
    /// For cards of so many pictures each.
    pub fn new(pictures: usize) -> Page {
        let pictures = u32::try_from(pictures).unwrap_or(u32::MAX).clamp(1, 8);
        let mut page = Page {
            pictures,
            columns: 1,
            rows: 1,
        };
        page.columns = ((WIDTH - MARGIN) / (page.card_width() + MARGIN)).max(1);
        page.rows = (HEIGHT.saturating_sub(head_height()) / (card_height() + MARGIN)).max(1);
        page
    }

    /// Cards that one sheet holds.
    pub fn cards(&self) -> usize {
        (self.columns * self.rows) as usize
    }

    fn card_width(&self) -> u32 {
        self.pictures * (SIDE + GAP) - GAP
    }

    /// Draws as many cards as there are, at most [`Page::cards`].
    pub fn draw(&self, title: &str, cards: &[Card]) -> Result<Picture, PictureError> {
        let columns = self.columns.min(cards.len() as u32);
        let rows = (cards.len() as u32).div_ceil(self.columns.max(1));
        let width = MARGIN + columns * (self.card_width() + MARGIN);
        let height = head_height() + rows * (card_height() + MARGIN);
        if cards.is_empty() || cards.len() > self.cards() || height as usize > MAX_GRID_SIDE {
            return Err(PictureError::Size {
                width: width as usize,
                height: height as usize,
            });
        }
        let mut sheet = Picture::filled(width, height, BACKGROUND);
        let title = text::escaped(title);
        let title = fitted(HEADING, &title, width - 2 * MARGIN);
        draw_text(
            &mut sheet,
            MARGIN as i32,
            MARGIN as i32,
            HEADING,
            INK,
            &title,
        );
        for (at, card) in (0..).zip(cards) {
            let left = MARGIN + at % self.columns * (self.card_width() + MARGIN);
            let top = head_height() + at / self.columns * (card_height() + MARGIN);
            self.draw_card(&mut sheet, card, left, top);
        }
        Ok(sheet)
    }

    fn draw_card(&self, sheet: &mut Picture, card: &Card, left: u32, top: u32) {
        for (at, picture) in (0..self.pictures).zip(&card.pictures) {
            let left = left + at * (SIDE + GAP);
            draw_place(sheet, picture.as_ref(), left, top, SIDE);
        }
        let mut below = top + SIDE + GAP;
        let lines = card
            .texts
            .iter()
            .flat_map(|text| wrapped(LETTERS, text, self.card_width(), FOLDED));
        for line in lines.take(LINES) {
            draw_text(sheet, left as i32, below as i32, LETTERS, INK, &line);
            below += line_height(LETTERS);
        }
    }
}

fn head_height() -> u32 {
    2 * MARGIN + line_height(HEADING)
}

fn card_height() -> u32 {
    SIDE + GAP + LINES as u32 * line_height(LETTERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::palette::sheet::GROUND;

    const RED: [u8; 3] = [200, 0, 0];

    fn card(pictures: usize) -> Card {
        Card {
            pictures: vec![Some(Picture::filled(SIDE, 80, RED)); pictures],
            texts: vec!["a.jpg".into(), "label cat".into()],
        }
    }

    #[test]
    fn cards_stand_in_rows() {
        let page = Page::new(1);
        let sheet = page.draw("title", &vec![card(1); 10]).unwrap();
        assert!(sheet.width <= WIDTH && page.columns == 8);
        assert_eq!(sheet.height, head_height() + 2 * (card_height() + MARGIN));
        let middle = |row: u32| head_height() + row * (card_height() + MARGIN) + SIDE / 2;
        assert_eq!(sheet.at(MARGIN, middle(0)), Some(RED));
        assert_eq!(sheet.at(MARGIN + SIDE + MARGIN, middle(1)), Some(RED));
        // The picture is centred in its place; the last row has two cards.
        assert_eq!(sheet.at(MARGIN, head_height()), Some(GROUND));
        assert_eq!(
            sheet.at(MARGIN + 2 * (SIDE + MARGIN), middle(1)),
            Some(BACKGROUND)
        );
        let few = page.draw("", &vec![card(1); 2]).unwrap();
        assert_eq!(few.width, MARGIN + 2 * (SIDE + MARGIN));
    }

    #[test]
    fn two_pictures_stand_side_by_side() {
        let page = Page::new(2);
        let mut pair = card(2);
        pair.pictures[1] = None;
        let sheet = page.draw("", &[pair]).unwrap();
        let middle = head_height() + SIDE / 2;
        assert_eq!(sheet.at(MARGIN + 1, middle), Some(RED));
        let right = MARGIN + SIDE + GAP;
        assert_eq!(sheet.at(right, middle), Some(GROUND));
        let has_words = (right..right + SIDE).any(|x| sheet.at(x, middle).unwrap()[0] > 100);
        assert!(has_words);
    }

    #[test]
    fn a_sheet_stays_drawable() {
        for pictures in [1, 2, 8] {
            let page = Page::new(pictures);
            let full = head_height() + page.rows * (card_height() + MARGIN);
            assert!(full <= HEIGHT && page.cards() > 20, "{page:?}");
            assert!(page.draw("", &vec![card(1); page.cards() + 1]).is_err());
            assert!(page.draw("", &[]).is_err());
        }
    }
}
