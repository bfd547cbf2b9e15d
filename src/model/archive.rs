//! Reads a `torch.export` archive (`.pt2`): an uncompressed zip of a JSON graph and raw tensors.
//!
//! The file is hostile input. Nothing is unpacked to disk, no pickle is opened, every size is checked before allocation,
//! and the total read never exceeds the file's length.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use prospect_common::{
    Error, Result,
    text::{shortened, some_of},
};
use serde::Deserialize;
use zip::{
    CompressionMethod, ZipArchive,
    read::{ArchiveOffset, Config},
};

/// Graphs of the largest published classifiers are a few MB of JSON.
const MAX_GRAPH_BYTES: u64 = 256 << 20;
const MAX_MEMBERS: usize = 200_000;
pub(super) const EXPORT_AGAIN: &str =
    "export the file again with `python jobs/export_model.py` and torch 2.11 (2.9 or later)";

/// Element type of a stored tensor, numbered as in `torch._export.serde.schema.ScalarType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalarType(pub i64);

impl ScalarType {
    /// The type's number in `c10::ScalarType`.
    pub fn c10(self) -> Option<i64> {
        match self.0 {
            1..=12 => Some(self.0 - 1),
            13 => Some(15),
            _ => None,
        }
    }

    /// PyTorch's name of the common types.
    pub(super) fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "uint8",
            2 => "int8",
            3 => "int16",
            4 => "int32",
            5 => "int64",
            6 => "float16",
            7 => "float32",
            8 => "float64",
            12 => "bool",
            13 => "bfloat16",
            _ => return None,
        })
    }
}

/// Position of a named tensor in its storage, counted in elements.
#[derive(Clone, Debug)]
pub struct TensorEntry {
    /// Zip member of the storage; several tensors may share one.
    pub member: String,
    pub dtype: ScalarType,
    pub sizes: Vec<i64>,
    pub strides: Vec<i64>,
    pub offset: i64,
}

/// An opened archive.
pub struct Archive {
    path: PathBuf,
    length: u64,
    zip: ZipArchive<BufReader<File>>,
    /// First path component of every member.
    root: String,
}

#[derive(Deserialize)]
struct TensorConfig {
    config: BTreeMap<String, TensorConfigEntry>,
}

#[derive(Deserialize)]
struct TensorConfigEntry {
    path_name: String,
    use_pickle: bool,
    tensor_meta: Option<TensorMeta>,
}

/// Sizes and strides as `torch.export` writes them.
#[derive(Clone, Debug, Deserialize)]
pub struct TensorMeta {
    pub dtype: i64,
    pub sizes: Vec<Size>,
    pub strides: Vec<Size>,
    pub storage_offset: Size,
}

/// One size: fixed, or a symbolic expression of the batch size.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    AsInt(i64),
    AsExpr(serde_json::Value),
}

impl Size {
    /// The value of a fixed size.
    pub fn fixed(&self) -> Option<i64> {
        match self {
            Size::AsInt(value) => Some(*value),
            Size::AsExpr(_) => None,
        }
    }
}

impl Archive {
    /// Opens the zip and locates its one model.
    ///
    /// # Errors
    /// A file that cannot be read or is not a `torch.export` archive.
    pub fn open(path: &Path) -> Result<Archive> {
        let file = File::open(path).map_err(Error::io(path, "opening the model"))?;
        let length = file
            .metadata()
            .map_err(Error::io(path, "reading the size of"))?
            .len();
        // The crate's search for an offset rejects some valid archives; torch writes nothing before the first member.
        let start = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        let mut zip = ZipArchive::with_config(start, BufReader::new(file)).map_err(|error| {
            Error::invalid(
                path,
                "a torch.export archive (.pt2, a zip file)",
                error.to_string(),
                EXPORT_AGAIN,
            )
        })?;
        if zip.len() > MAX_MEMBERS {
            return Err(Error::invalid(
                path,
                format!("at most {MAX_MEMBERS} members"),
                zip.len().to_string(),
                EXPORT_AGAIN,
            ));
        }
        let mut total = 0u64;
        let mut roots = Vec::new();
        for index in 0..zip.len() {
            let member = zip.by_index_raw(index).map_err(|error| {
                Error::invalid(path, "an intact zip file", error.to_string(), EXPORT_AGAIN)
            })?;
            total = total.saturating_add(member.size());
            if member.compression() != CompressionMethod::Stored {
                return Err(Error::invalid(
                    path,
                    "stored (uncompressed) members, as torch.export.save writes them",
                    format!("a compressed member {:?}", member.name()),
                    EXPORT_AGAIN,
                ));
            }
            let name = member.name().map_err(|error| {
                Error::invalid(path, "an intact zip file", error.to_string(), EXPORT_AGAIN)
            })?;
            if let Some(root) = name.strip_suffix("/models/model.json") {
                roots.push(root.to_string());
            }
        }
        if total > length {
            return Err(Error::invalid(
                path,
                format!("members within the file's {length} bytes"),
                format!("members that claim {total} bytes"),
                EXPORT_AGAIN,
            ));
        }
        let [root] = roots.as_slice() else {
            return Err(Error::invalid(
                path,
                "one models/model.json in the archive (torch.export.save)",
                if roots.is_empty() {
                    "none; TorchScript and pickled checkpoints are not supported".to_string()
                } else {
                    format!("{}", roots.len())
                },
                EXPORT_AGAIN,
            ));
        };
        let root = root.clone();
        let mut archive = Archive {
            path: path.to_path_buf(),
            length,
            zip,
            root,
        };
        let byteorder = archive.member("byteorder", 16)?;
        if byteorder.trim_ascii() != b"little" {
            return Err(Error::invalid(
                path,
                "little-endian tensors",
                format!("byteorder {:?}", String::from_utf8_lossy(&byteorder)),
                EXPORT_AGAIN,
            ));
        }
        Ok(archive)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// BLAKE3 of the file's bytes, hexadecimal, from the handle that the members were read from.
    pub fn into_digest(self) -> Result<String> {
        let mut file = self.zip.into_inner().into_inner();
        let mut hasher = blake3::Hasher::new();
        file.rewind()
            .and_then(|()| hasher.update_reader(file).map(drop))
            .map_err(Error::io(&self.path, "reading the model"))?;
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The graph's JSON text.
    pub fn graph_json(&mut self) -> Result<Vec<u8>> {
        self.member("models/model.json", MAX_GRAPH_BYTES)
    }

    /// Parameters and buffers by name in the module.
    pub fn weights(&mut self) -> Result<BTreeMap<String, TensorEntry>> {
        self.tensors("data/weights", "model_weights_config.json")
    }

    /// Lifted tensor constants by name in the graph's signature.
    pub fn constants(&mut self) -> Result<BTreeMap<String, TensorEntry>> {
        self.tensors("data/constants", "model_constants_config.json")
    }

    fn tensors(&mut self, folder: &str, config: &str) -> Result<BTreeMap<String, TensorEntry>> {
        let bytes = self.member(&format!("{folder}/{config}"), MAX_GRAPH_BYTES)?;
        let path = self.path.clone();
        let parsed: TensorConfig = serde_json::from_slice(&bytes).map_err(|error| {
            Error::invalid(
                &path,
                format!("a tensor list in {config}"),
                shortened(&error.to_string(), 200),
                EXPORT_AGAIN,
            )
        })?;
        let pickled: Vec<String> = parsed
            .config
            .iter()
            .filter(|(_, entry)| entry.use_pickle || entry.tensor_meta.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        if !pickled.is_empty() {
            return Err(Error::invalid(
                &path,
                "raw tensors (use_pickle = false)",
                format!(
                    "pickled tensors, which can run code when loaded: {}",
                    some_of(&pickled)
                ),
                "save plain tensors with torch.export.save, without tensor subclasses",
            ));
        }
        parsed
            .config
            .into_iter()
            .filter_map(|(name, entry)| entry.tensor_meta.map(|meta| (name, entry.path_name, meta)))
            .map(|(name, member, meta)| {
                let fixed = |sizes: &[Size]| sizes.iter().map(Size::fixed).collect::<Option<_>>();
                match (
                    fixed(&meta.sizes),
                    fixed(&meta.strides),
                    meta.storage_offset.fixed(),
                ) {
                    (Some(sizes), Some(strides), Some(offset)) => Ok((
                        name,
                        TensorEntry {
                            member: format!("{folder}/{member}"),
                            dtype: ScalarType(meta.dtype),
                            sizes,
                            strides,
                            offset,
                        },
                    )),
                    _ => Err(Error::invalid(
                        &path,
                        format!("fixed sizes for tensor {}", shortened(&name, 120)),
                        "symbolic sizes",
                        EXPORT_AGAIN,
                    )),
                }
            })
            .collect()
    }

    /// The bytes of one member; an error above `limit`.
    pub fn member(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let full = format!("{}/{name}", self.root);
        let broken = |found: String| {
            Error::invalid(
                &self.path,
                format!("a readable member {full}"),
                found,
                EXPORT_AGAIN,
            )
        };
        let mut member = self
            .zip
            .by_name(&full)
            .map_err(|error| broken(error.to_string()))?;
        if member.size() > limit {
            return Err(broken(format!(
                "{} bytes, over the limit of {limit}",
                member.size()
            )));
        }
        let mut bytes = Vec::with_capacity(member.size() as usize);
        member
            .read_to_end(&mut bytes)
            .map_err(|error| broken(error.to_string()))?;
        Ok(bytes)
    }
}
