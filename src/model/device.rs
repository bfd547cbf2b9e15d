//! Choice of the device that networks run on.

use std::{fmt, str::FromStr, sync::OnceLock};

use prospect_common::{Complaint, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use tch::Device;

/// Setting of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU.
    Auto,
    Cpu,
    /// The CUDA device of this index; an error if it does not exist.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(DeviceChoice::Cuda)
                .ok_or_else(|| format!("{text:?} is not a device")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl Serialize for DeviceChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DeviceChoice, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// libtorch's CUDA backend, opened at run time so that one binary serves machines with and without a GPU.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// Opens the CUDA backend once; the error says why CUDA is not available.
fn cuda() -> &'static Result<(), String> {
    static CUDA: OnceLock<Result<(), String>> = OnceLock::new();
    CUDA.get_or_init(|| {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        // SAFETY: the backend's initialisers register operators and nothing else; it is never unloaded.
        match unsafe { Library::open(Some(CUDA_LIBRARY), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(library) => {
                std::mem::forget(library);
                if tch::Cuda::is_available() {
                    Ok(())
                } else {
                    Err(format!("{CUDA_LIBRARY} found no usable GPU or driver"))
                }
            }
            Err(error) => Err(format!("cannot open {CUDA_LIBRARY}: {error}")),
        }
    })
}

/// The device to run on.
///
/// # Errors
/// The requested CUDA device is not available.
pub fn choose(choice: DeviceChoice) -> Result<Device> {
    let index = match choice {
        DeviceChoice::Cpu => return Ok(Device::Cpu),
        DeviceChoice::Auto if cuda().is_err() => return Ok(Device::Cpu),
        DeviceChoice::Auto => return Ok(Device::Cuda(0)),
        DeviceChoice::Cuda(index) => index,
    };
    let refuse = |why: String| {
        let predicate = format!("= \"cuda:{index}\": {why}");
        Err(Complaint::predicate("model", "device", predicate).into())
    };
    match cuda() {
        Ok(()) if (index as i64) < tch::Cuda::device_count() => Ok(Device::Cuda(index)),
        Ok(()) => refuse(format!(
            "found only {} CUDA devices",
            tch::Cuda::device_count()
        )),
        Err(reason) => refuse(format!(
            "{reason}; add the lib folder of a CUDA build of libtorch to LD_LIBRARY_PATH (Python package: \
             .../site-packages/torch/lib), or set device = \"auto\""
        )),
    }
}

/// The device's name in the configuration and in tables.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

/// Lets operators use one thread only, until it is dropped: each thread that calls libtorch then works on its own, and waits for none.
/// Threads that are started meanwhile must call [`use_one_thread`].
pub struct OneThread(i32);

impl OneThread {
    #[expect(clippy::new_without_default, reason = "it has an effect")]
    pub fn new() -> OneThread {
        let before = tch::get_num_threads();
        use_one_thread();
        OneThread(before)
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        tch::set_num_threads(self.0);
    }
}

/// Lets the operators that this thread calls use one thread only.
pub fn use_one_thread() {
    tch::set_num_threads(1);
}

/// One line about libtorch, its threads and its devices.
pub fn describe() -> String {
    let cuda = match cuda() {
        Ok(()) => format!("{} CUDA device(s)", tch::Cuda::device_count()),
        Err(reason) => format!("no CUDA ({reason})"),
    };
    format!(
        "libtorch {}, {} threads, {cuda}",
        super::shim::torch_version(),
        tch::get_num_threads()
    )
}
