//! Sheets of query results: each row is a card with one or more pictures and a caption.

use prospect_common::text;

use super::{
    MAX_SIZE, Picture, PictureError,
    caption::{draw_cell, draw_text, fitted, line_height, wrapped},
    palette::sheet::{BACKGROUND, INK},
};

/// Maximum width and height of a card's picture.
pub const PICTURE_SIZE: u32 = 192;
/// Maximum number of cards.
pub const MAX_CARDS: usize = 1000;
/// Lines of a card's caption.
const LINES: usize = 8;
/// Maximum lines per text of a caption.
const MAX_TEXT_LINES: usize = 3;
/// Maximum size of a sheet; a single row of cards may be higher.
const MAX_WIDTH: u32 = 1800;
const MAX_HEIGHT: u32 = 8192;
/// Between cards and around the sheet.
const MARGIN: u32 = 16;
/// Between a card's pictures, and between them and the caption.
const GAP: u32 = 6;
const FONT_SIZE: f32 = 12.0;
const TITLE_SIZE: f32 = 15.0;

/// A row of a query result.
#[derive(Debug, Clone)]
pub struct Card {
    /// At most [`PICTURE_SIZE`] wide and high; `None` if unavailable.
    pub pictures: Vec<Option<Picture>>,
    /// The caption; long texts are wrapped.
    pub texts: Vec<String>,
}

/// The layout of cards, the same on all sheets of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pictures: u32,
    columns: u32,
    rows: u32,
}

impl Page {
    /// For cards with this many pictures each.
    pub fn new(pictures: usize) -> Page {
        let pictures = u32::try_from(pictures).unwrap_or(u32::MAX).clamp(1, 8);
        let mut page = Page {
            pictures,
            columns: 1,
            rows: 1,
        };
        page.columns = ((MAX_WIDTH - MARGIN) / (page.card_width() + MARGIN)).max(1);
        page.rows = (MAX_HEIGHT.saturating_sub(head_height()) / (card_height() + MARGIN)).max(1);
        page
    }

    /// Maximum cards per sheet.
    pub fn cards(&self) -> usize {
        (self.columns * self.rows) as usize
    }

    fn card_width(&self) -> u32 {
        self.pictures * (PICTURE_SIZE + GAP) - GAP
    }

    /// Draws the cards, at most [`Page::cards`].
    pub fn draw(&self, title: &str, cards: &[Card]) -> Result<Picture, PictureError> {
        let columns = self.columns.min(cards.len() as u32);
        let rows = (cards.len() as u32).div_ceil(self.columns.max(1));
        let width = MARGIN + columns * (self.card_width() + MARGIN);
        let height = head_height() + rows * (card_height() + MARGIN);
        if cards.is_empty() || cards.len() > self.cards() || height as usize > MAX_SIZE {
            return Err(PictureError::Size {
                width: width as usize,
                height: height as usize,
            });
        }
        let mut sheet = Picture::filled(width, height, BACKGROUND);
        let title = text::escaped(title);
        let title = fitted(TITLE_SIZE, &title, width - 2 * MARGIN);
        draw_text(
            &mut sheet,
            MARGIN as i32,
            MARGIN as i32,
            TITLE_SIZE,
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
            let left = left + at * (PICTURE_SIZE + GAP);
            draw_cell(sheet, picture.as_ref(), left, top, PICTURE_SIZE);
        }
        let mut below = top + PICTURE_SIZE + GAP;
        let lines = card
            .texts
            .iter()
            .flat_map(|text| wrapped(FONT_SIZE, text, self.card_width(), MAX_TEXT_LINES));
        for line in lines.take(LINES) {
            draw_text(sheet, left as i32, below as i32, FONT_SIZE, INK, &line);
            below += line_height(FONT_SIZE);
        }
    }
}

fn head_height() -> u32 {
    2 * MARGIN + line_height(TITLE_SIZE)
}

fn card_height() -> u32 {
    PICTURE_SIZE + GAP + LINES as u32 * line_height(FONT_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::palette::sheet::GROUND;

    const RED: [u8; 3] = [200, 0, 0];

    fn card(pictures: usize) -> Card {
        Card {
            pictures: vec![Some(Picture::filled(PICTURE_SIZE, 80, RED)); pictures],
            texts: vec!["a.jpg".into(), "label cat".into()],
        }
    }

    #[test]
    fn cards_are_arranged_in_rows() {
        let page = Page::new(1);
        let sheet = page.draw("title", &vec![card(1); 10]).unwrap();
        assert!(sheet.width <= MAX_WIDTH && page.columns == 8);
        assert_eq!(sheet.height, head_height() + 2 * (card_height() + MARGIN));
        let middle = |row: u32| head_height() + row * (card_height() + MARGIN) + PICTURE_SIZE / 2;
        assert_eq!(sheet.at(MARGIN, middle(0)), Some(RED));
        assert_eq!(
            sheet.at(MARGIN + PICTURE_SIZE + MARGIN, middle(1)),
            Some(RED)
        );
        // The picture is centred in its cell; the last row has two cards.
        assert_eq!(sheet.at(MARGIN, head_height()), Some(GROUND));
        assert_eq!(
            sheet.at(MARGIN + 2 * (PICTURE_SIZE + MARGIN), middle(1)),
            Some(BACKGROUND)
        );
        let few = page.draw("", &vec![card(1); 2]).unwrap();
        assert_eq!(few.width, MARGIN + 2 * (PICTURE_SIZE + MARGIN));
    }

    #[test]
    fn two_pictures_are_side_by_side() {
        let page = Page::new(2);
        let mut pair = card(2);
        pair.pictures[1] = None;
        let sheet = page.draw("", &[pair]).unwrap();
        let middle = head_height() + PICTURE_SIZE / 2;
        assert_eq!(sheet.at(MARGIN + 1, middle), Some(RED));
        let right = MARGIN + PICTURE_SIZE + GAP;
        assert_eq!(sheet.at(right, middle), Some(GROUND));
        let has_words =
            (right..right + PICTURE_SIZE).any(|x| sheet.at(x, middle).unwrap()[0] > 100);
        assert!(has_words);
    }

    #[test]
    fn sheets_stay_within_the_maximum_size() {
        for pictures in [1, 2, 8] {
            let page = Page::new(pictures);
            let full = head_height() + page.rows * (card_height() + MARGIN);
            assert!(full <= MAX_HEIGHT && page.cards() > 20, "{page:?}");
            assert!(page.draw("", &vec![card(1); page.cards() + 1]).is_err());
            assert!(page.draw("", &[]).is_err());
        }
    }
}
