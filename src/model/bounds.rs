//! Bounds the memory that a model file can ask for.

use std::ffi::CStr;

use tch::Tensor;

use super::shim::Value;

/// Elements of one tensor for one picture: four times those of the largest attention maps.
const MAX_ELEMENTS: f64 = (1u64 << 30) as f64;

/// Refuses arguments that ask for a larger tensor, in a batch of `n` pictures.
pub(super) fn check_arguments(arguments: &[(&CStr, Value<'_>)], n: i64) -> Result<(), String> {
    check(asked_for(arguments), n)
}

/// Refuses larger results: each operator may multiply its input's size.
pub(super) fn check_results(results: &[Tensor], n: i64) -> Result<(), String> {
    let largest = results.iter().map(Tensor::numel).max().unwrap_or(0);
    check(largest as f64, n)
}

fn check(elements: f64, n: i64) -> Result<(), String> {
    if elements <= MAX_ELEMENTS * n.max(1) as f64 {
        return Ok(());
    }
    Err(format!(
        "a tensor of {elements:.0} elements for {n} pictures, more than {MAX_ELEMENTS:.0} for each"
    ))
}

/// Elements of the result that the arguments ask for by sizes, numbers of steps or factors; 0 if they do not.
fn asked_for(arguments: &[(&CStr, Value<'_>)]) -> f64 {
    let number = |wanted: &CStr| {
        let find = |(name, value): &(&CStr, Value<'_>)| match value {
            Value::Int(value) if *name == wanted => Some(*value as f64),
            Value::Float(value) if *name == wanted => Some(*value),
            _ => None,
        };
        arguments.iter().find_map(find)
    };
    // A range has no tensor; the `end` of a slice is none of a range.
    let numel = arguments.iter().find_map(|(_, value)| match value {
        Value::Tensor(tensor) => Some(tensor.numel() as f64),
        _ => None,
    });
    let of = |(name, value): &(&CStr, Value<'_>)| -> f64 {
        let numbers: Vec<f64> = match value {
            Value::Int(value) => vec![*value as f64],
            Value::Float(value) => vec![*value],
            Value::Ints(values) => values.iter().map(|&value| value as f64).collect(),
            Value::Floats(values) => values.clone(),
            _ => return 0.0,
        };
        let product: f64 = numbers.iter().map(|value| value.max(1.0)).product();
        match name.to_bytes() {
            b"size" | b"shape" | b"output_size" | b"steps" => product,
            b"repeats" | b"scale_factors" => numel.unwrap_or(1.0) * product,
            b"end" if numel.is_none() => {
                let start = number(c"start").unwrap_or(0.0);
                let step = number(c"step").unwrap_or(1.0);
                ((numbers[0] - start) / step).abs()
            }
            b"n" => product * number(c"m").unwrap_or(product),
            _ => 0.0,
        }
    };
    // A comparison with NaN is false: it counts as too large.
    let largest = arguments.iter().map(of);
    largest.fold(0.0, |max, value| if value <= max { max } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_steps_and_factors_are_bounded() {
        let tensor = Tensor::zeros([2, 3], (tch::Kind::Float, tch::Device::Cpu));
        let too_large: &[&[(&CStr, Value<'_>)]] = &[
            &[(c"size", Value::Ints(vec![1 << 20, 1 << 20]))],
            &[(c"size", Value::Ints(vec![i64::MAX, i64::MAX, 0]))],
            &[(c"end", Value::Int(1 << 40))],
            &[(c"end", Value::Int(1)), (c"step", Value::Float(1e-12))],
            &[(c"end", Value::Float(f64::NAN))],
            &[(c"n", Value::Int(1 << 20))],
            &[(c"steps", Value::Int(1 << 40))],
            &[
                (c"self", Value::Tensor(&tensor)),
                (c"repeats", Value::Ints(vec![1 << 30, 1])),
            ],
        ];
        for arguments in too_large {
            assert!(check_arguments(arguments, 1).is_err(), "{arguments:?}");
        }
        let usual: &[&[(&CStr, Value<'_>)]] = &[
            &[(c"size", Value::Ints(vec![32, -1, 7]))],
            &[
                (c"self", Value::Tensor(&tensor)),
                (c"end", Value::Int(i64::MAX)),
            ],
            &[(c"end", Value::Int(64)), (c"step", Value::Int(2))],
            &[
                (c"self", Value::Tensor(&tensor)),
                (c"repeats", Value::Ints(vec![1, 4])),
            ],
        ];
        for arguments in usual {
            assert!(check_arguments(arguments, 1).is_ok(), "{arguments:?}");
        }
        assert!(check_results(&[tensor], 1).is_ok());
    }
}
