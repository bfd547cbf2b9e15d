//! Rust bindings of `shim.cpp`: calls ATen operators by name.

use std::ffi::{CStr, CString, c_char, c_void};

use prospect_common::text::shortened;
use tch::Tensor;

use crate::ReluRule;

/// One argument of an operator call.
#[derive(Debug)]
pub enum Value<'a> {
    None,
    Tensor(&'a Tensor),
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(&'a str),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
    Tensors(Vec<Option<&'a Tensor>>),
    Device(String),
}

#[repr(C)]
struct RawArgument {
    name: *const c_char,
    kind: i32,
    integer: i64,
    real: f64,
    data: *const c_void,
    length: usize,
}

unsafe extern "C" {
    fn prospect_torch_version() -> *const c_char;
    fn prospect_last_error() -> *const c_char;
    fn prospect_operator(name: *const c_char, overload: *const c_char) -> *const c_void;
    fn prospect_call(
        operator: *const c_void,
        arguments: *const RawArgument,
        count: usize,
        push: extern "C" fn(*mut c_void, *mut tch_tensor),
        context: *mut c_void,
    ) -> i32;
    fn prospect_limit_memory(room: i64);
    fn prospect_rectify(
        input: *const c_void,
        low: f64,
        high: f64,
        guided: i32,
        push: extern "C" fn(*mut c_void, *mut tch_tensor),
        context: *mut c_void,
    ) -> i32;
}

#[allow(non_camel_case_types)]
type tch_tensor = c_void;

/// Version of the libtorch that the binary was built against.
pub fn torch_version() -> String {
    // SAFETY: a string literal.
    unsafe { CStr::from_ptr(prospect_torch_version()) }
        .to_string_lossy()
        .into_owned()
}

/// What the message of an operator that needs too much says while there is a [`MemoryLimit`].
pub const OVER_LIMIT: &str = "over the memory limit";

/// A limit of the memory that this thread may take for tensors on the CPU, until it is dropped.
pub struct MemoryLimit(());

impl MemoryLimit {
    /// `room` more bytes.
    pub fn new(room: u64) -> MemoryLimit {
        // SAFETY: no pointers.
        unsafe { prospect_limit_memory(i64::try_from(room).unwrap_or(i64::MAX)) };
        MemoryLimit(())
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // SAFETY: no pointers.
        unsafe { prospect_limit_memory(-1) };
    }
}

/// A handle into libtorch's operator table, valid for the lifetime of the process.
#[derive(Clone, Copy, Debug)]
pub struct Operator(*const c_void);

// SAFETY: the handle points to an immutable entry of the thread-safe dispatcher.
unsafe impl Send for Operator {}
unsafe impl Sync for Operator {}

extern "C" fn push(context: *mut c_void, tensor: *mut tch_tensor) {
    // SAFETY: `context` is the caller's `Vec`; `tensor` is a new at::Tensor that we own.
    unsafe {
        let results = &mut *context.cast::<Vec<Tensor>>();
        results.push(Tensor::from_ptr(tensor.cast()));
    }
}

/// Keeps converted arguments alive during a call.
enum Storage {
    Ints(Vec<i64>),
    Pointers(Vec<*const c_void>),
    Text(String),
}

impl Operator {
    /// Looks up an operator, e.g. `("aten::conv2d", "")`; `None` if this libtorch lacks it.
    pub fn find(name: &str, overload: &str) -> Option<Operator> {
        let name = CString::new(name).ok()?;
        let overload = CString::new(overload).ok()?;
        // SAFETY: both strings live through the call.
        let handle = unsafe { prospect_operator(name.as_ptr(), overload.as_ptr()) };
        (!handle.is_null()).then_some(Operator(handle))
    }

    /// Calls the operator; missing arguments take the schema's defaults. List results are flattened.
    ///
    /// # Errors
    /// libtorch's message.
    pub fn call(&self, arguments: &[(&CStr, Value<'_>)]) -> Result<Vec<Tensor>, String> {
        let storage: Vec<Option<Storage>> = arguments
            .iter()
            .map(|(_, value)| Storage::of(value))
            .collect();
        let raw: Vec<RawArgument> = arguments
            .iter()
            .zip(&storage)
            .map(|((name, value), storage)| RawArgument::new(name, value, storage.as_ref()))
            .collect();
        let mut results: Vec<Tensor> = Vec::new();
        // SAFETY: `raw`, `storage` and the borrowed tensors live through the call; `push` gets `results`.
        let failed = unsafe {
            prospect_call(
                self.0,
                raw.as_ptr(),
                raw.len(),
                push,
                (&raw mut results).cast(),
            )
        };
        if failed == 0 {
            Ok(results)
        } else {
            Err(last_error())
        }
    }
}

fn last_error() -> String {
    // SAFETY: the shim returns a NUL-terminated string that stays valid until its next error on this thread.
    let message = unsafe { CStr::from_ptr(prospect_last_error()) };
    let message = message.to_string_lossy();
    shortened(message.lines().next().unwrap_or(""), 300).into_owned()
}

/// A clamp to `[low, high]` with a backward rule other than the derivative.
#[derive(Clone, Copy, Debug)]
pub struct Rectifier {
    pub low: f64,
    pub high: f64,
    /// Not [`ReluRule::Plain`], which is the operator's own derivative.
    pub rule: ReluRule,
}

impl Rectifier {
    /// # Errors
    /// libtorch's message.
    pub fn apply(&self, input: &Tensor) -> Result<Tensor, String> {
        let mut results: Vec<Tensor> = Vec::new();
        // SAFETY: `input` lives through the call; `push` gets `results`.
        let failed = unsafe {
            prospect_rectify(
                input.as_ptr().cast(),
                self.low,
                self.high,
                i32::from(self.rule == ReluRule::Guided),
                push,
                (&raw mut results).cast(),
            )
        };
        match results.pop() {
            Some(result) if failed == 0 => Ok(result),
            _ => Err(last_error()),
        }
    }
}

impl Storage {
    fn of(value: &Value<'_>) -> Option<Storage> {
        match value {
            Value::Bools(bools) => Some(Storage::Ints(bools.iter().map(|&b| b.into()).collect())),
            Value::Tensors(tensors) => Some(Storage::Pointers(
                tensors
                    .iter()
                    .map(|tensor| tensor.map_or(std::ptr::null(), |t| t.as_ptr().cast()))
                    .collect(),
            )),
            Value::Device(name) => Some(Storage::Text(name.clone())),
            _ => None,
        }
    }
}

impl RawArgument {
    fn new(name: &CStr, value: &Value<'_>, storage: Option<&Storage>) -> RawArgument {
        let mut raw = RawArgument {
            name: name.as_ptr(),
            kind: 0,
            integer: 0,
            real: 0.0,
            data: std::ptr::null(),
            length: 0,
        };
        match value {
            Value::None => {}
            Value::Tensor(tensor) => {
                raw.kind = 1;
                raw.data = tensor.as_ptr().cast();
            }
            Value::Int(integer) => {
                raw.kind = 2;
                raw.integer = *integer;
            }
            Value::Float(real) => {
                raw.kind = 3;
                raw.real = *real;
            }
            Value::Bool(bool) => {
                raw.kind = 4;
                raw.integer = (*bool).into();
            }
            Value::Str(text) => {
                raw.kind = 5;
                raw.data = text.as_ptr().cast();
                raw.length = text.len();
            }
            Value::Ints(ints) => {
                raw.kind = 6;
                raw.data = ints.as_ptr().cast();
                raw.length = ints.len();
            }
            Value::Floats(floats) => {
                raw.kind = 7;
                raw.data = floats.as_ptr().cast();
                raw.length = floats.len();
            }
            Value::Bools(_) => raw.kind = 8,
            Value::Tensors(_) => raw.kind = 9,
            Value::Device(_) => raw.kind = 10,
        }
        match storage {
            Some(Storage::Ints(ints)) => {
                raw.data = ints.as_ptr().cast();
                raw.length = ints.len();
            }
            Some(Storage::Pointers(pointers)) => {
                raw.data = pointers.as_ptr().cast();
                raw.length = pointers.len();
            }
            Some(Storage::Text(text)) => {
                raw.data = text.as_ptr().cast();
                raw.length = text.len();
            }
            None => {}
        }
        raw
    }
}
