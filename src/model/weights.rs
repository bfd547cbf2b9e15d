//! Converts raw archive members into weight tensors.

use std::path::Path;

use prospect_common::{Error, Result, text::shortened};
use tch::{Kind as Dtype, Tensor};

use super::archive::TensorEntry;

/// One tensor from its storage bytes.
pub(super) fn tensor(
    path: &Path,
    name: &str,
    entry: &TensorEntry,
    storage: &[u8],
) -> Result<Tensor> {
    let name = shortened(name, 120);
    let invalid = |expected: String, found: String| {
        Error::invalid(
            path,
            format!("{expected} for the weights of {name} ({})", entry.member),
            found,
            "copy the file again or export it again",
        )
    };
    let dtype = entry
        .dtype
        .c10()
        .and_then(|number| match number {
            0 => Some(Dtype::Uint8),
            1 => Some(Dtype::Int8),
            2 => Some(Dtype::Int16),
            3 => Some(Dtype::Int),
            4 => Some(Dtype::Int64),
            5 => Some(Dtype::Half),
            6 => Some(Dtype::Float),
            7 => Some(Dtype::Double),
            11 => Some(Dtype::Bool),
            15 => Some(Dtype::BFloat16),
            _ => None,
        })
        .ok_or_else(|| {
            invalid(
                "a supported element type".into(),
                format!("type {}", entry.dtype.0),
            )
        })?;
    let element = dtype.elt_size_in_bytes() as i64;
    let last_offset = entry
        .sizes
        .iter()
        .zip(&entry.strides)
        .try_fold(0i64, |last_offset, (&size, &stride)| {
            if size < 0 || stride < 0 {
                return None;
            }
            last_offset.checked_add((size - 1).max(0).checked_mul(stride)?)
        })
        .filter(|_| entry.sizes.len() == entry.strides.len() && entry.offset >= 0);
    let empty = entry.sizes.contains(&0);
    let needed = last_offset
        .and_then(|last_offset| {
            last_offset
                .checked_add(entry.offset)?
                .checked_add(1)?
                .checked_mul(element)
        })
        .ok_or_else(|| {
            invalid(
                "consistent sizes and strides".into(),
                format!("{:?} with strides {:?}", entry.sizes, entry.strides),
            )
        })?;
    if !empty && (storage.len() as i64) < needed {
        return Err(invalid(
            format!("{needed} bytes"),
            format!("{}", storage.len()),
        ));
    }
    // Strides of zero would make a large tensor from a small file.
    let elements = storage.len() as i64 / element;
    let numel = (entry.sizes.iter()).try_fold(1i64, |n, &size| n.checked_mul(size));
    if !empty && numel.is_none_or(|numel| numel > elements) {
        return Err(invalid(
            format!("at most the {elements} elements of its storage"),
            format!("sizes {:?}", entry.sizes),
        ));
    }
    let (start, end) = match empty {
        true => (0, 0),
        false => ((entry.offset * element) as usize, needed as usize),
    };
    let part = &storage[start..end];
    let tensor = Tensor::f_from_data_size(part, &[part.len() as i64 / element], dtype)
        .and_then(|part| part.f_as_strided(&entry.sizes, &entry.strides, 0))
        .and_then(|tensor| tensor.f_contiguous())
        .map_err(|error| Error::Torch {
            context: format!("{}: weights of {name}", path.display()),
            message: error.to_string(),
        })?;
    Ok(match dtype {
        Dtype::Half | Dtype::BFloat16 | Dtype::Double => tensor.to_kind(Dtype::Float),
        _ => tensor,
    })
}
