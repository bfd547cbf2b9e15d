//! Properties of explanations in any network: the ReLU rules on known values, and maps without a maximum.

use proptest::prelude::*;
use prospect::analysis::units::saliency;

use super::{common::Builder, *};

/// The gradient at the four inputs `z` of an activation with output gradients `g`.
fn through(z: [f32; 4], g: [f32; 4], rule: ReluRule, high: Option<f64>) -> Vec<f32> {
    let mut net = Builder::new(1, 4);
    let y = match high {
        None => net.relu(0),
        Some(high) => net.clamp(0, 0.0, high),
    };
    let blank = Tensor::zeros([1, 2, 1, 4], (Kind::Float, Device::Cpu));
    let channels = |values: [f32; 4]| {
        let red = Tensor::from_slice(&values).reshape([1, 1, 1, 4]);
        Tensor::cat(&[&red, &blank], 1)
    };
    let sum = net.weighted_sum(y, channels(g));
    let (_, network) = net.model();
    let backprop = Backprop::new(&network, sum, rule, [0.0; 3], [1.0; 3]).unwrap();
    let gradient = backprop.run_normalised(&channels(z), &[0]).unwrap();
    gradient[..4].to_vec()
}

/// The rules: plain `g [z > 0]`, DeconvNet `g [g > 0]`, guided `g [z > 0] [g > 0]`.
#[test]
fn relu_follows_the_rules() {
    let (z, g) = ([-1.0, 2.0, -3.0, 4.0], [-0.5, -0.8, 0.2, 1.1]);
    assert_eq!(through(z, g, ReluRule::Plain, None), [0.0, -0.8, 0.0, 1.1]);
    assert_eq!(through(z, g, ReluRule::Deconv, None), [0.0, 0.0, 0.2, 1.1]);
    assert_eq!(through(z, g, ReluRule::Guided, None), [0.0, 0.0, 0.0, 1.1]);
}

/// ReLU6 is a clamp: it blocks gradients above its upper bound as below its lower one, except under DeconvNet.
#[test]
fn clamp_follows_the_rules() {
    let (z, g) = ([-1.0, 2.0, 7.0, 4.0], [0.5, -0.8, 0.2, 1.1]);
    let six = Some(6.0);
    assert_eq!(through(z, g, ReluRule::Plain, six), [0.0, -0.8, 0.0, 1.1]);
    assert_eq!(through(z, g, ReluRule::Deconv, six), [0.5, 0.0, 0.2, 1.1]);
    assert_eq!(through(z, g, ReluRule::Guided, six), [0.0, 0.0, 0.0, 1.1]);
}

/// What replaces a map's channels.
#[derive(Clone, Debug)]
enum Fill {
    Dead,
    /// A constant per channel.
    Constant,
    /// Dead channels, one per bit.
    Channels(u8),
}

fn all_finite(result: &Explanation) -> bool {
    result.logit.is_finite() && result.maps.iter().flatten().all(|value| value.is_finite())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Dead and constant maps give finite results by every method. Maps of dead layers are zero, as are those of constant layers
    /// by methods that weight channels.
    #[test]
    fn dead_and_constant_layers_have_zero_maps(
        network in 0usize..4,
        fill in prop_oneof![Just(Fill::Dead), Just(Fill::Constant), any::<u8>().prop_map(Fill::Channels)],
        scale in prop_oneof![Just(1e-6f32), Just(1.0), Just(6e4), -10f32..10.0],
        values in prop::collection::vec(0f32..1.0, 8),
    ) {
        let case = Case::open(CNNS[network]);
        let layer = case.default_layer();
        let explainer = case.explainer(&layer);
        let [channels, rows, cols] = explainer.shape();
        let mut maps = case.maps(&explainer);
        for image in maps[0].chunks_mut(channels * rows * cols) {
            for (channel, map) in image.chunks_mut(rows * cols).enumerate() {
                match fill {
                    Fill::Dead => map.fill(0.0),
                    Fill::Constant => map.fill(scale * values[channel]),
                    Fill::Channels(dead) if dead >> channel & 1 == 1 => map.fill(0.0),
                    Fill::Channels(_) => map.iter_mut().for_each(|value| *value *= scale),
                }
            }
        }
        let (methods, _) = case.info.methods_at(&layer, &METHODS);
        for result in run(&explainer, &maps, &case.jobs()) {
            prop_assert!(all_finite(&result), "{result:?}");
            for (method, map) in methods.iter().zip(&result.maps) {
                let summary = saliency::summary(map, rows, cols);
                let weighs_channels = matches!(method, GradCam | Cam | GradCamPlusPlus);
                match fill {
                    Fill::Dead => prop_assert!(summary.zero_map && summary.positive_sum == 0.0),
                    Fill::Constant if weighs_channels => prop_assert!(summary.zero_map, "{method:?} {map:?}"),
                    _ => {}
                }
            }
        }
    }
}

/// With 2048 channels, as in real networks, constant maps stay constant to the last bit.
#[test]
fn wide_constant_layers_have_zero_maps() {
    let (channels, classes) = (2048, 10);
    let options = (Kind::Float, Device::Cpu);
    tch::manual_seed(5);
    let mut net = Builder::new(14, 14);
    let map = net.conv(0, channels, [2, 2], 2, 0, 1);
    let map = net.relu(map);
    let weight = Tensor::randn([classes, channels], options) * 0.05;
    net.pooled_linear(map, weight, Tensor::randn([classes], options));
    let (info, network) = net.model();
    let layer = Layer {
        name: "map".into(),
        class: String::new(),
        value: map,
    };
    let explainer = Explainer::new(&network, &info, &layer, &[GradCam, Cam]).unwrap();
    assert_eq!(explainer.shape(), [2048, 7, 7]);
    let one_cell = Tensor::rand([3, channels, 1, 1], options);
    let maps = floats(&one_cell.expand([3, channels, 7, 7], false).contiguous());
    let jobs: Vec<(usize, usize)> = (0..3).flat_map(|image| [(image, 1), (image, 7)]).collect();
    for result in explainer.run(&[&maps], 3, &jobs).unwrap() {
        for map in &result.maps {
            assert!(saliency::summary(map, 7, 7).zero_map, "{map:?}");
        }
        let residual = result.logit - result.cam_logit.unwrap();
        assert!(residual.abs() < 1e-4 * result.logit.abs().max(1.0));
    }
}
