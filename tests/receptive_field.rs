//! Theoretical receptive fields against published values and against gradients.

mod common;

use proptest::prelude::*;
use prospect::model::{
    executor::Network,
    graph::ValueId,
    program::Fusion,
    receptive_field::{Axis, fields},
};
use tch::{Device, Kind, Tensor};

use common::Builder;

fn axis(builder: &Builder, id: ValueId) -> Axis {
    let [y, x] = fields(&builder.graph)[id].unwrap().axes.unwrap();
    assert_eq!(y, x);
    y
}

/// VGG-16: conv3_3 (`features.14`) 40/4, pool3 (`features.16`) 44/8, pool5 212/32.
#[test]
fn vgg16() {
    let mut net = Builder::new(224, 224);
    let mut x = 0;
    let mut found = Vec::new();
    for (block, convolutions) in [2, 2, 3, 3, 3].into_iter().enumerate() {
        for _ in 0..convolutions {
            x = net.conv(x, 1, [3, 3], 1, 1, 1);
            x = net.relu(x);
        }
        found.push(axis(&net, x));
        x = net.pool(x, true, 2, 2, 0);
        if block == 2 || block == 4 {
            found.push(axis(&net, x));
        }
    }
    let sizes: Vec<(i64, i64)> = found.iter().map(|axis| (axis.size, axis.stride)).collect();
    assert_eq!(sizes[2], (40, 4));
    assert_eq!(sizes[3], (44, 8));
    assert_eq!(*sizes.last().unwrap(), (212, 32));
}

/// torchvision's ResNets (bottlenecks have their stride in the 3x3 convolution).
fn resnet(blocks: [usize; 4], bottleneck: bool) -> Axis {
    let mut net = Builder::new(224, 224);
    let x = net.conv(0, 1, [7, 7], 2, 3, 1);
    let x = net.relu(x);
    let mut x = net.pool(x, true, 3, 2, 1);
    for (stage, count) in blocks.into_iter().enumerate() {
        for block in 0..count {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let main = if bottleneck {
                let y = net.conv(x, 1, [1, 1], 1, 0, 1);
                let y = net.relu(y);
                let y = net.conv(y, 1, [3, 3], stride, 1, 1);
                let y = net.relu(y);
                net.conv(y, 1, [1, 1], 1, 0, 1)
            } else {
                let y = net.conv(x, 1, [3, 3], stride, 1, 1);
                let y = net.relu(y);
                net.conv(y, 1, [3, 3], 1, 1, 1)
            };
            let shortcut = if block == 0 {
                net.conv(x, 1, [1, 1], stride, 0, 1)
            } else {
                x
            };
            let sum = net.add(main, shortcut);
            x = net.relu(sum);
        }
    }
    axis(&net, x)
}

#[test]
fn resnets() {
    assert_eq!(resnet([2, 2, 2, 2], false).size, 435);
    assert_eq!(resnet([3, 4, 6, 3], true).size, 427);
    assert_eq!(resnet([3, 4, 6, 3], true).stride, 32);
}

/// One step of a random network.
#[derive(Clone, Debug)]
enum Step {
    Conv {
        kernel: [i64; 2],
        stride: i64,
        padding: i64,
        dilation: i64,
    },
    Pool {
        max: bool,
        kernel: i64,
        stride: i64,
        padding: i64,
    },
    Relu,
    /// A shortcut around a same-sized convolution.
    Residual {
        kernel: i64,
    },
    /// Two parallel convolutions of different dilation.
    Branches {
        dilation: i64,
    },
    Slice {
        dim: i64,
        start: i64,
        step: i64,
    },
    Pad([i64; 4]),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        ([1i64..=4, 1i64..=4], 1i64..=2, 0i64..=2, 1i64..=2).prop_map(
            |(kernel, stride, padding, dilation)| Step::Conv {
                kernel,
                stride,
                padding,
                dilation
            }
        ),
        (any::<bool>(), 2i64..=3, 1i64..=2, 0i64..=1).prop_map(|(max, kernel, stride, padding)| {
            Step::Pool {
                max,
                kernel,
                stride,
                padding,
            }
        }),
        Just(Step::Relu),
        (0i64..=1).prop_map(|half| Step::Residual {
            kernel: 2 * half + 1
        }),
        (1i64..=3).prop_map(|dilation| Step::Branches { dilation }),
        (2i64..=3, 0i64..=1, 1i64..=2).prop_map(|(dim, start, step)| Step::Slice {
            dim,
            start,
            step
        }),
        [0i64..=2, 0i64..=2, 0i64..=2, 0i64..=2].prop_map(Step::Pad),
    ]
}

fn build(steps: &[Step]) -> (Builder, ValueId) {
    let mut net = Builder::new(33, 29);
    let mut x = net.conv(0, 2, [1, 1], 1, 0, 1);
    for step in steps {
        let [_, height, width] = net.shape(x);
        // Every step keeps at least one cell.
        if height.min(width) < 8 {
            break;
        }
        x = match *step {
            Step::Conv {
                kernel,
                stride,
                padding,
                dilation,
            } => net.conv(x, 2, kernel, stride, padding, dilation),
            Step::Pool {
                max,
                kernel,
                stride,
                padding,
            } => net.pool(x, max, kernel, stride, padding),
            Step::Relu => net.relu(x),
            Step::Residual { kernel } => {
                let channels = net.shape(x)[0];
                let y = net.conv(x, channels, [kernel, kernel], 1, kernel / 2, 1);
                net.add(y, x)
            }
            Step::Branches { dilation } => {
                let near = net.conv(x, 1, [1, 1], 1, 0, 1);
                let far = net.conv(x, 1, [3, 3], 1, dilation, dilation);
                net.cat(near, far)
            }
            Step::Slice { dim, start, step } => net.slice(x, dim, start, step),
            Step::Pad(amounts) => net.pad(x, amounts),
        };
    }
    (net, x)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The gradient of a cell is zero outside its box. The box is tight: with positive weights and without max pooling, which
    /// passes one pixel only, the gradient reaches the box's edges inside the image.
    #[test]
    fn boxes_contain_the_gradient(steps in prop::collection::vec(step(), 1..6), place in (0.0f64..1.0, 0.0f64..1.0)) {
        let (net, last) = build(&steps);
        let [_, rows, cols] = net.shape(last);
        let (row, col) = ((place.0 * rows as f64) as i64, (place.1 * cols as f64) as i64);
        let [y, x] = fields(&net.graph)[last].unwrap().axes.unwrap();
        let (height, width) = net.graph.input_size();
        let network = Network::from_parts(net.graph.clone(), net.weights, Device::Cpu);
        let runner = network.compile(&[last], Fusion::None).unwrap();
        let input = (Tensor::rand([1, 3, height, width], (Kind::Float, Device::Cpu)) + 0.1).set_requires_grad(true);
        let output = runner.run(&input).unwrap().remove(0);
        prop_assert_eq!(output.size()[2..].to_vec(), vec![rows, cols]);
        let score = output.select(2, row).select(2, col).sum(Kind::Float);
        let gradient = Tensor::run_backward(&[score], &[&input], false, false).remove(0);
        let support = gradient.abs().sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Float).ne(0.0);
        let nonzero = |sums: Tensor| -> Vec<i64> {
            Vec::<i64>::try_from(sums.nonzero().squeeze_dim(1)).unwrap()
        };
        let max_pool = steps.iter().any(|step| matches!(step, Step::Pool { max: true, .. }));
        for (axis, index, size, dim) in [(y, row, height, 1i64), (x, col, width, 0)] {
            let (start, end) = axis.interval(index);
            let hit = nonzero(support.any_dim(dim, false));
            for &pixel in &hit {
                prop_assert!((start..end).contains(&pixel), "pixel {pixel} outside {start}..{end}");
            }
            // Dilation, slices, strides over kernels of size one, and padding leave gaps at the box's edges.
            let dense = steps.iter().all(|step| matches!(step, Step::Relu | Step::Residual { .. } | Step::Branches { dilation: 1 }));
            if dense && !max_pool {
                prop_assert_eq!(hit.first().copied(), Some(start.max(0)));
                prop_assert_eq!(hit.last().copied(), Some(end.min(size) - 1));
            }
        }
    }
}
