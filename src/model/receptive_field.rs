//! Theoretical receptive fields: the input pixels that each cell of each value can depend on.
//!
//! Along one axis, cell `i` sees the pixels `[start + i*stride, start + i*stride + size)` of the network's input tensor.
//! A window of kernel size `k`, dilation `d`, stride `s` and padding `p` updates
//! `size += d*(k-1)*stride; start -= p*stride; stride *= s`. Joined branches see the union.
//! (Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.)

use super::{
    graph::{Argument, Graph, Node, ValueId},
    operators::{self, Kind},
};

/// Receptive field of the cells along one axis, in pixels of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    pub size: i64,
    pub stride: i64,
    /// Left (top) edge of cell 0's field; negative inside the padding.
    pub start: i64,
}

impl Axis {
    const PIXEL: Axis = Axis {
        size: 1,
        stride: 1,
        start: 0,
    };

    fn window(self, kernel: i64, stride: i64, padding: i64, dilation: i64) -> Axis {
        Axis {
            size: self.size + dilation * (kernel - 1) * self.stride,
            start: self.start - padding * self.stride,
            stride: self.stride * stride,
        }
    }

    /// `None` if the strides differ, since there is no common grid.
    fn union(self, other: Axis) -> Option<Axis> {
        let start = self.start.min(other.start);
        let end = (self.start + self.size).max(other.start + other.size);
        (self.stride == other.stride).then_some(Axis {
            size: end - start,
            stride: self.stride,
            start,
        })
    }

    /// First and last pixel edge of the field of cell `index`.
    pub fn interval(&self, index: i64) -> (i64, i64) {
        let start = self.start + index * self.stride;
        (start, start + self.size)
    }
}

/// Spatial layout of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Dimensions of the image's rows and columns; `None` if the spatial layout is lost.
    pub dims: Option<(usize, usize)>,
    /// Fields along rows and columns; `None` if a cell may see the whole image.
    pub axes: Option<[Axis; 2]>,
}

impl Field {
    const WHOLE: Field = Field {
        dims: None,
        axes: None,
    };
}

/// The field of every value; `None` if the value does not depend on the image.
pub fn fields(graph: &Graph) -> Vec<Option<Field>> {
    let mut fields: Vec<Option<Field>> = vec![None; graph.values.len()];
    fields[graph.input] = Some(Field {
        dims: Some((2, 3)),
        axes: Some([Axis::PIXEL; 2]),
    });
    for node in &graph.nodes {
        let field = propagate(graph, node, &fields);
        for id in node.writes() {
            fields[id] = field.filter(|_| graph.shape(id).is_some());
        }
        // An in-place write also changes its target.
        if operators::is_in_place(node)
            && let Some(target) = node.reads().first()
        {
            fields[*target] = field;
        }
    }
    fields
}

fn propagate(graph: &Graph, node: &Node, fields: &[Option<Field>]) -> Option<Field> {
    let reads: Vec<ValueId> = node
        .reads()
        .into_iter()
        .filter(|&id| fields[id].is_some())
        .collect();
    let (&first, _) = reads.split_first()?;
    let own = fields[first]?;
    let whole = Some(Field::WHOLE);
    let out = node.writes().first().copied();
    let name = operators::base_name(node);
    match operators::kind(node) {
        Some(Kind::Elementwise) if node.bool("training") == Some(true) => whole,
        Some(Kind::Elementwise) => join(graph, &reads, fields, out),
        Some(Kind::Window) => Some(window(graph, node, first, own).unwrap_or(Field::WHOLE)),
        Some(Kind::View) => Some(view(graph, node, first, own).unwrap_or(Field::WHOLE)),
        Some(Kind::Constant) => None,
        _ => match name {
            "cat" => {
                let rank = graph.shape(first).map_or(0, <[_]>::len);
                let dim = dimension(node.int("dim").unwrap_or(0), rank);
                match own.dims {
                    Some((row, col)) if dim != Some(row) && dim != Some(col) => {
                        join(graph, &reads, fields, out)
                    }
                    _ => whole,
                }
            }
            "linear" => {
                let last = graph.shape(first).map_or(0, <[_]>::len).checked_sub(1);
                keep_unless(own, |dim| Some(dim) == last)
            }
            "layer_norm" => {
                let rank = graph.shape(first).map_or(0, <[_]>::len);
                let normalised = node
                    .ints("normalized_shape")
                    .map_or(rank, |dims| dims.len());
                keep_unless(own, |dim| dim + normalised >= rank)
            }
            "softmax" | "log_softmax" => {
                let rank = graph.shape(first).map_or(0, <[_]>::len);
                let over = node.int("dim").and_then(|dim| dimension(dim, rank));
                keep_unless(own, |dim| Some(dim) == over)
            }
            // These mix all positions but keep the layout.
            "group_norm" | "instance_norm" | "roll" | "flip" => Some(Field {
                dims: own.dims,
                axes: None,
            }),
            "adaptive_avg_pool2d" | "adaptive_max_pool2d" => {
                let shape = graph.shape(first)?;
                let same = out
                    .and_then(|id| graph.shape(id))
                    .is_some_and(|sizes| sizes == shape);
                Some(if same {
                    own
                } else {
                    Field {
                        dims: own.dims,
                        axes: None,
                    }
                })
            }
            _ => whole,
        },
    }
}

/// Keeps the field unless the operator mixes one of its spatial dimensions.
fn keep_unless(own: Field, mixes: impl Fn(usize) -> bool) -> Option<Field> {
    Some(match own.dims {
        Some((row, col)) if !mixes(row) && !mixes(col) => own,
        _ => Field::WHOLE,
    })
}

/// Joins the inputs of an elementwise operator or a channel concatenation, aligned at the last dimension.
fn join(
    graph: &Graph,
    reads: &[ValueId],
    fields: &[Option<Field>],
    out: Option<ValueId>,
) -> Option<Field> {
    let rank = out.and_then(|id| graph.shape(id)).map_or(4, <[_]>::len);
    let mut joined: Option<Field> = None;
    for &id in reads {
        let field = fields[id]?;
        let shape = graph.shape(id).unwrap_or(&[]);
        let offset = rank.saturating_sub(shape.len());
        let dims = field.dims.map(|(row, col)| (row + offset, col + offset));
        // A [n, c, 1, 1] gate is broadcast: every cell sees what the gate sees.
        let broadcast = field.dims.is_none_or(|(row, col)| {
            shape.get(row) == Some(&Some(1)) || shape.get(col) == Some(&Some(1))
        });
        let single =
            out.and_then(|id| graph.shape(id))
                .zip(dims)
                .is_some_and(|(sizes, (row, col))| {
                    sizes.get(row) == Some(&Some(1)) && sizes.get(col) == Some(&Some(1))
                });
        let field = Field {
            dims,
            axes: field.axes.filter(|_| !broadcast || single),
        };
        joined = Some(match joined {
            None => field,
            Some(known) => {
                let axes = match (known.axes, field.axes) {
                    (Some([y, x]), Some([other_y, other_x])) => {
                        y.union(other_y).zip(x.union(other_x)).map(|(y, x)| [y, x])
                    }
                    _ => None,
                };
                match (known.dims, field.dims) {
                    (Some(a), Some(b)) if a != b => Field::WHOLE,
                    (a, b) => Field {
                        dims: a.or(b),
                        axes,
                    },
                }
            }
        });
    }
    joined
}

fn pair(values: Option<Vec<i64>>, default: i64) -> Option<[i64; 2]> {
    match values.as_deref() {
        None | Some([]) => Some([default; 2]),
        Some([both]) => Some([*both; 2]),
        Some([y, x]) => Some([*y, *x]),
        _ => None,
    }
}

fn window(graph: &Graph, node: &Node, first: ValueId, own: Field) -> Option<Field> {
    let (row, col) = own.dims?;
    let rank = graph.shape(first)?.len();
    let name = operators::base_name(node);
    if name == "pad" {
        return pad(node, own, rank);
    }
    // Convolution and pooling slide over the last two dimensions.
    if (row + 2, col + 1) != (rank, rank) {
        return None;
    }
    let kernel = match name {
        "conv2d" => {
            let weight = graph.shape(node.tensor("weight")?)?;
            // The arithmetic does not cover weights computed from the image.
            if node.tensor("input") != Some(first) {
                return None;
            }
            [weight.get(2).copied()??, weight.get(3).copied()??]
        }
        _ => pair(node.ints("kernel_size"), 1)?,
    };
    let stride = match name {
        "conv2d" => pair(node.ints("stride"), 1)?,
        _ => match node.ints("stride") {
            None => kernel,
            Some(stride) if stride.is_empty() => kernel,
            stride => pair(stride, 1)?,
        },
    };
    let dilation = pair(node.ints("dilation"), 1)?;
    let padding = match node.argument("padding") {
        Some(Argument::Text(text)) if text == "same" => {
            // torch pads d*(k-1) in total, the smaller half first.
            [0, 1].map(|axis: usize| dilation[axis] * (kernel[axis] - 1) / 2)
        }
        Some(Argument::Text(_)) => [0; 2],
        _ => pair(node.ints("padding"), 0)?,
    };
    let axes = own.axes.map(|axes| {
        [0, 1].map(|axis: usize| {
            axes[axis].window(kernel[axis], stride[axis], padding[axis], dilation[axis])
        })
    });
    Some(Field {
        dims: own.dims,
        axes,
    })
}

/// `pad` lists (before, after) from the last dimension backwards.
fn pad(node: &Node, own: Field, rank: usize) -> Option<Field> {
    let (row, col) = own.dims?;
    let amounts = node.ints("pad")?;
    let constant =
        !matches!(node.argument("mode"), Some(Argument::Text(mode)) if mode != "constant");
    let before = |dim: usize| amounts.get(2 * (rank - 1 - dim)).copied().unwrap_or(0);
    let touches = |dim: usize| {
        before(dim) != 0
            || amounts
                .get(2 * (rank - 1 - dim) + 1)
                .is_some_and(|&after| after != 0)
    };
    if !constant && (touches(row) || touches(col)) {
        // Reflected pixels lie outside the padded cell's window.
        return Some(Field {
            dims: own.dims,
            axes: None,
        });
    }
    let axes = own.axes.map(|[y, x]| {
        [
            y.window(1, 1, before(row), 1),
            x.window(1, 1, before(col), 1),
        ]
    });
    Some(Field {
        dims: own.dims,
        axes,
    })
}

fn dimension(dim: i64, rank: usize) -> Option<usize> {
    let dim = if dim < 0 { dim + rank as i64 } else { dim };
    usize::try_from(dim).ok().filter(|&dim| dim < rank)
}

fn view(graph: &Graph, node: &Node, first: ValueId, own: Field) -> Option<Field> {
    let (row, col) = own.dims?;
    let shape = graph.shape(first)?;
    let rank = shape.len();
    let moved = |to: &dyn Fn(usize) -> Option<usize>| {
        Some(Field {
            dims: Some((to(row)?, to(col)?)),
            axes: own.axes,
        })
    };
    match operators::base_name(node) {
        "alias" | "contiguous" | "detach" | "dropout" | "clone" => Some(own),
        "permute" => {
            let order = node.ints("dims")?;
            let order: Vec<usize> = order
                .iter()
                .map(|&dim| dimension(dim, rank))
                .collect::<Option<_>>()?;
            moved(&|dim| order.iter().position(|&from| from == dim))
        }
        name @ ("transpose" | "swapaxes") => {
            let (a, b) = if name == "transpose" {
                ("dim0", "dim1")
            } else {
                ("axis0", "axis1")
            };
            let a = dimension(node.int(a)?, rank)?;
            let b = dimension(node.int(b)?, rank)?;
            moved(&|dim| {
                Some(match dim {
                    _ if dim == a => b,
                    _ if dim == b => a,
                    _ => dim,
                })
            })
        }
        "unsqueeze" => {
            let at = dimension(node.int("dim")?, rank + 1)?;
            moved(&|dim| Some(if dim >= at { dim + 1 } else { dim }))
        }
        "select" => {
            let at = dimension(node.int("dim")?, rank)?;
            moved(&|dim| match dim {
                _ if dim == at => None,
                _ if dim > at => Some(dim - 1),
                _ => Some(dim),
            })
        }
        "chunk" | "split" | "split_with_sizes" | "unsafe_chunk" | "unsafe_split" | "narrow" => {
            let at = dimension(node.int("dim").unwrap_or(0), rank)?;
            (at != row && at != col).then_some(own)
        }
        "slice" => slice(node, own, shape),
        "view" | "reshape" | "flatten" | "unflatten" | "squeeze" => {
            let out = graph.shape(node.output()?)?;
            // The layout survives if rows and columns remain the last two dimensions.
            let kept = out.len() >= 2
                && (row + 2, col + 1) == (rank, rank)
                && out[out.len() - 2..] == shape[rank - 2..]
                && shape[row] != Some(1);
            kept.then_some(Field {
                dims: Some((out.len() - 2, out.len() - 1)),
                axes: own.axes,
            })
        }
        _ => None,
    }
}

fn slice(node: &Node, own: Field, shape: &[Option<i64>]) -> Option<Field> {
    let (row, col) = own.dims?;
    let dim = dimension(node.int("dim").unwrap_or(0), shape.len())?;
    if dim != row && dim != col {
        return Some(own);
    }
    let size = shape[dim]?;
    let mut start = node.int("start").unwrap_or(0);
    if start < 0 {
        start += size;
    }
    let start = start.clamp(0, size);
    let step = node.int("step").unwrap_or(1);
    let axes = own.axes.map(|mut axes| {
        let axis = &mut axes[usize::from(dim == col)];
        axis.start += start * axis.stride;
        axis.stride *= step;
        axes
    });
    Some(Field {
        dims: own.dims,
        axes,
    })
}
