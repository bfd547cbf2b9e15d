pub struct Quality;
pub fn quality(_: &super::RgbImage) -> Quality { Quality }
