//! Thumbnails of the compared images. Each image is decoded once: beyond the limit in memory, thumbnails go to a file without a
//! name, which the system removes.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use prospect_analysis::audit::duplicates::picture::Thumbnail;
use prospect_common::{Error, Result};
use rayon::prelude::*;

/// Those of a known set of images, as a cache.
pub struct Thumbnails {
    /// None: the image could not be decoded or is nearly uniform.
    kept: HashMap<u32, Option<Thumbnail>>,
    max_kept: usize,
    /// Place in the file, in thumbnails.
    stored: HashMap<u32, u64>,
    written: u64,
    file: Option<File>,
    folder: PathBuf,
}

impl Thumbnails {
    /// Keeps up to `max_kept` thumbnails in memory, and the others in `folder`.
    pub fn new(max_kept: usize, folder: &Path) -> Thumbnails {
        Thumbnails {
            kept: HashMap::new(),
            max_kept,
            stored: HashMap::new(),
            written: 0,
            file: None,
            folder: folder.to_path_buf(),
        }
    }

    /// Makes these images available to [`Thumbnails::get`]; `decode` is called for those that never were before.
    ///
    /// # Errors
    /// Those of `decode`; the file cannot be read.
    pub fn load(
        &mut self,
        image_ids: impl Iterator<Item = u32>,
        decode: impl Fn(u32) -> Result<Option<Thumbnail>> + Sync,
    ) -> Result<()> {
        let missing = image_ids.filter(|id| !self.kept.contains_key(id));
        let missing: Vec<u32> = missing.collect();
        let loaded = missing
            .into_par_iter()
            .map(|id| match self.stored.get(&id) {
                Some(place) => Ok((id, Some(self.read(*place)?))),
                None => Ok((id, decode(id)?)),
            });
        let loaded: Vec<_> = loaded.collect::<Result<_>>()?;
        self.kept.extend(loaded);
        Ok(())
    }

    pub fn get(&self, image_id: u32) -> Option<&Thumbnail> {
        self.kept.get(&image_id)?.as_ref()
    }

    /// Forgets all but some, and moves them to the file if they are too many.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn retain(&mut self, is_needed: impl Fn(u32) -> bool) -> Result<()> {
        self.kept.retain(|id, _| is_needed(*id));
        self.stored.retain(|id, _| is_needed(*id));
        if self.kept.len() <= self.max_kept {
            return Ok(());
        }
        let failed = || Error::io(&self.folder, "writing thumbnails to");
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder).map_err(failed())?,
        };
        let stored = &mut self.stored;
        for (id, thumbnail) in &self.kept {
            if let (Some(thumbnail), false) = (thumbnail, stored.contains_key(id)) {
                file.write_all_at(&thumbnail.to_bytes(), place(self.written))
                    .map_err(failed())?;
                stored.insert(*id, self.written);
                self.written += 1;
            }
        }
        self.file = Some(file);
        // What could not be decoded takes no room.
        self.kept.retain(|_, thumbnail| thumbnail.is_none());
        Ok(())
    }

    fn read(&self, at: u64) -> Result<Thumbnail> {
        let mut bytes = vec![0; Thumbnail::BYTES];
        if let Some(file) = &self.file {
            file.read_exact_at(&mut bytes, place(at))
                .map_err(Error::io(&self.folder, "reading thumbnails in"))?;
        }
        Ok(Thumbnail::from_bytes(&bytes))
    }
}

/// The place in bytes of a thumbnail of the file.
fn place(at: u64) -> u64 {
    at * Thumbnail::BYTES as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use prospect_analysis::audit::duplicates::picture::SIDE;

    use super::*;

    /// Every tenth is uniform.
    fn picture(id: u32) -> Option<Thumbnail> {
        let value = |at: usize| (at * at * (id as usize % 10) / 7 % 256) as u8;
        let pixels: Vec<u8> = (0..SIDE * SIDE * 3).map(value).collect();
        Thumbnail::new(&pixels)
    }

    #[test]
    fn each_image_is_decoded_once_whatever_stays_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        for max_kept in [0, 5, 100] {
            let decoded = AtomicUsize::new(0);
            let mut thumbnails = Thumbnails::new(max_kept, folder.path());
            for round in 0..4 {
                let wanted = (0..40u32).filter(|id| id % 4 >= round);
                let decode = |id| {
                    decoded.fetch_add(1, Relaxed);
                    Ok(picture(id))
                };
                thumbnails.load(wanted.clone(), decode).unwrap();
                for id in wanted {
                    assert_eq!(thumbnails.get(id), picture(id).as_ref());
                }
                assert!(thumbnails.get(10).is_none());
                thumbnails.retain(|id| id % 4 > round).unwrap();
                let kept = thumbnails.kept.values().flatten().count();
                assert!(kept <= max_kept, "{kept}");
            }
            assert_eq!(decoded.into_inner(), 40);
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
