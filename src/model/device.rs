//! Where networks run.

use std::sync::OnceLock;

pub use tch::Device;

use crate::{
    config::DeviceChoice,
    error::{Error, Result},
};

/// Name of libtorch's CUDA backend; opened at run time, so that one binary serves machines with and without a GPU.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// What was found when the CUDA backend was looked for.
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
                    Err(format!(
                        "{CUDA_LIBRARY} was opened, but it finds no usable GPU or driver"
                    ))
                }
            }
            Err(error) => Err(format!("{CUDA_LIBRARY} could not be opened: {error}")),
        }
    })
}

/// The device to run on.
///
/// # Errors
/// A CUDA device was asked for and is not there; the message says what was looked for.
pub fn choose(choice: DeviceChoice) -> Result<Device> {
    let wanted = match choice {
        DeviceChoice::Cpu => return Ok(Device::Cpu),
        DeviceChoice::Auto if cuda().is_err() => return Ok(Device::Cpu),
        DeviceChoice::Auto => return Ok(Device::Cuda(0)),
        DeviceChoice::Cuda(index) => index,
    };
    match cuda() {
        Ok(()) if (wanted as i64) < tch::Cuda::device_count() => Ok(Device::Cuda(wanted)),
        Ok(()) => Err(Error::Config(vec![format!(
            "[model] device = \"cuda:{wanted}\": there are {} CUDA devices",
            tch::Cuda::device_count()
        )])),
        Err(found) => Err(Error::Config(vec![format!(
            "[model] device = \"cuda:{wanted}\": {found}; looked in the loader's paths: put a CUDA build of libtorch's lib \
             folder into LD_LIBRARY_PATH (for the Python package: .../site-packages/torch/lib), or use device = \"auto\""
        )])),
    }
}

/// The device as configuration and tables name it.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

/// One line on libtorch and the devices that it sees, for people.
pub fn describe() -> String {
    let cuda = match cuda() {
        Ok(()) => format!("{} CUDA device(s)", tch::Cuda::device_count()),
        Err(found) => format!("no CUDA ({found})"),
    };
    format!(
        "libtorch {}, {} threads, {cuda}",
        super::shim::torch_version(),
        tch::get_num_threads()
    )
}
