//! Compiles a graph into a program: drops unused nodes and rewrites in-place operators; `fusion` optimises it further.

use std::collections::HashMap;

use tch::Tensor;

use super::{
    analysis::identity_input,
    graph::{Argument, Graph, Int, Node, ValueId, ValueInfo},
    operators,
};

/// Nodes ready to run, with their constant tensors.
pub struct Program {
    pub nodes: Vec<Node>,
    pub values: Vec<ValueInfo>,
    /// The program's inputs, in order.
    pub inputs: Vec<ValueId>,
    /// Weights and folded weights by value; unchanged ones share storage with the network's.
    pub constants: HashMap<ValueId, Tensor>,
    /// The current id of every wanted value.
    pub wanted: Vec<ValueId>,
    /// For each node, the values that no later node reads.
    pub frees: Vec<Vec<ValueId>>,
    /// As asked for; none if values that depend on the images are written in place, since fused operators share memory differently.
    pub fusion: Fusion,
    /// Whether a node still writes into a value that depends on the images.
    pub writes_in_place: bool,
}

/// Degree of operator fusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// The exported operators; autograd works.
    None,
    /// BatchNorm folded into convolutions (any device).
    Fold,
    /// Also fuses convolution, residual sum and activation into one oneDNN operator (CPU, float32, inference only).
    OneDnn,
}

impl Program {
    /// The same program for another thread. The constants share their storage, which nothing writes.
    pub fn share(&self) -> Program {
        let constants = self.constants.iter();
        Program {
            nodes: self.nodes.clone(),
            values: self.values.clone(),
            inputs: self.inputs.clone(),
            constants: constants
                .map(|(id, tensor)| (*id, tensor.shallow_clone()))
                .collect(),
            wanted: self.wanted.clone(),
            frees: self.frees.clone(),
            fusion: self.fusion,
            writes_in_place: self.writes_in_place,
        }
    }

    /// Compiles the subgraph that computes `wanted`.
    ///
    /// `constants` are the network's weights in the program's dtype and on its device.
    pub fn new(
        graph: &Graph,
        constants: &HashMap<ValueId, Tensor>,
        wanted: &[ValueId],
        fusion: Fusion,
    ) -> Program {
        let mut program = Program::unfused(graph, constants, graph.input, wanted, fusion);
        program.finish();
        program
    }

    /// Compiles the subgraph from the value `start` to `wanted`. The first input is `start`; if it is inside a branch, the
    /// other values needed there follow, ascending by id. `None` if no wanted value depends on `start`.
    pub fn after(
        graph: &Graph,
        constants: &HashMap<ValueId, Tensor>,
        start: ValueId,
        wanted: &[ValueId],
        fusion: Fusion,
    ) -> Option<Program> {
        let mut program = Program::unfused(graph, constants, start, wanted, fusion);
        program.cut(graph.input)?;
        program.finish();
        Some(program)
    }

    fn unfused(
        graph: &Graph,
        constants: &HashMap<ValueId, Tensor>,
        start: ValueId,
        wanted: &[ValueId],
        fusion: Fusion,
    ) -> Program {
        let mut program = Program {
            nodes: graph
                .nodes
                .iter()
                .filter(|node| !operators::is_assertion(node))
                .cloned()
                .collect(),
            values: graph.values.clone(),
            inputs: vec![start],
            constants: constants
                .iter()
                .map(|(&id, tensor)| (id, tensor.shallow_clone()))
                .collect(),
            wanted: wanted.to_vec(),
            frees: Vec::new(),
            fusion,
            writes_in_place: false,
        };
        program.out_of_place();
        let depends = graph.depends_on_input();
        let writes_into_images = |node: &Node| {
            operators::is_in_place(node) && node.reads().iter().any(|&id| depends[id])
        };
        program.writes_in_place = program.nodes.iter().any(writes_into_images);
        if program.writes_in_place {
            program.fusion = Fusion::None;
        }
        program.drop_identities(graph);
        program
    }

    fn finish(&mut self) {
        let fusion = self.fusion;
        self.drop_unused();
        // Views must stay views of what is written in place.
        if !self.writes_in_place {
            self.view_as_reshape();
        }
        if fusion != Fusion::None {
            self.fold_batch_norm();
        }
        if fusion == Fusion::OneDnn {
            self.fuse_convolutions();
        }
        self.drop_unused();
        self.plan_frees();
    }

    /// Drops the nodes before the program's first input and adds the other inputs that the rest needs.
    fn cut(&mut self, input: ValueId) -> Option<()> {
        let start = self.inputs[0];
        if start != input {
            // The batch size came from the image batch, which is no longer an input.
            for node in &mut self.nodes {
                if node.operator == "aten::sym_size" && node.int("dim").unwrap_or(0) == 0 {
                    replace_reads(node, input, start);
                }
            }
        }
        let after = self.reached_from(start);
        let from_image = self.reached_from(input);
        if !self.wanted.iter().any(|&id| after[id]) {
            return None;
        }
        let before = |id: ValueId| from_image[id] && !after[id];
        self.nodes.retain(|node| {
            let writes = node.writes();
            !writes.contains(&start) && !writes.iter().any(|&id| before(id))
        });
        self.drop_unused();
        let mut others: Vec<ValueId> = (self.nodes.iter().flat_map(Node::reads))
            .chain(self.wanted.iter().copied())
            .filter(|&id| before(id))
            .collect();
        others.sort_unstable();
        others.dedup();
        self.inputs.extend(others);
        Some(())
    }

    /// Which values depend on `start`, including itself.
    fn reached_from(&self, start: ValueId) -> Vec<bool> {
        let mut reached = vec![false; self.values.len()];
        reached[start] = true;
        for node in &self.nodes {
            if node.reads().iter().any(|&id| reached[id]) {
                for id in node.writes() {
                    reached[id] = true;
                }
            }
        }
        reached
    }

    /// Rewrites `relu_(x)` to `relu(x)` and redirects later readers of `x` to the result, so that a tap of `x` keeps its
    /// module's output. Writes stay in place if a later node reads the same memory through another value (Swin's attention mask,
    /// a slice of a map).
    fn out_of_place(&mut self) {
        // The value that owns each value's memory.
        let mut owner: Vec<ValueId> = (0..self.values.len()).collect();
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let Some(&target) = node.reads().first().filter(|_| operators::is_alias(node)) else {
                continue;
            };
            if operators::is_in_place(node)
                && let Some(output) = node.output()
            {
                let mut later = self.nodes[index + 1..].iter().flat_map(Node::reads);
                if !later.any(|id| id != target && owner[id] == owner[target]) {
                    let name = node.operator.trim_end_matches('_').to_string();
                    self.nodes[index].operator = name;
                    for later in &mut self.nodes[index + 1..] {
                        replace_reads(later, target, output);
                    }
                    continue;
                }
            }
            for id in self.nodes[index].writes() {
                owner[id] = owner[target];
            }
        }
    }

    fn drop_identities(&mut self, graph: &Graph) {
        // Some identities copy what is not contiguous: a write into the copy must not reach the original.
        if self.writes_in_place {
            return;
        }
        let mut alias: HashMap<ValueId, ValueId> = HashMap::new();
        self.nodes
            .retain(|node| match (identity_input(graph, node), node.output()) {
                (Some(input), Some(output)) => {
                    let input = alias.get(&input).copied().unwrap_or(input);
                    alias.insert(output, input);
                    false
                }
                _ => true,
            });
        for node in &mut self.nodes {
            for id in node.reads() {
                if let Some(&to) = alias.get(&id) {
                    replace_reads(node, id, to);
                }
            }
        }
        for id in self.wanted.iter_mut().chain(&mut self.inputs) {
            *id = alias.get(id).copied().unwrap_or(*id);
        }
    }

    fn drop_unused(&mut self) {
        let mut needed = vec![false; self.values.len()];
        for &id in &self.wanted {
            needed[id] = true;
        }
        let mut keep = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            // A write into a view can be read through any other view of the same memory.
            if operators::is_in_place(node) || node.writes().iter().any(|&id| needed[id]) {
                keep[index] = true;
                for id in node.reads() {
                    needed[id] = true;
                }
            }
        }
        let mut keep = keep.into_iter();
        self.nodes.retain(|_| keep.next() == Some(true));
        self.constants.retain(|&id, _| needed[id]);
    }

    fn plan_frees(&mut self) {
        let mut seen = vec![false; self.values.len()];
        for &id in &self.wanted {
            seen[id] = true;
        }
        let mut frees = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            for id in node.reads().into_iter().chain(node.writes()) {
                if !seen[id] && !self.constants.contains_key(&id) {
                    seen[id] = true;
                    frees[index].push(id);
                }
            }
        }
        self.frees = frees;
    }

    /// Number of uses of each value; being wanted counts as one.
    pub(super) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.values.len()];
        for node in &self.nodes {
            for id in node.reads() {
                uses[id] += 1;
            }
        }
        for &id in &self.wanted {
            uses[id] += 1;
        }
        uses
    }

    pub(super) fn constant(&mut self, name: String, tensor: Tensor) -> ValueId {
        let id = self.values.len();
        self.values.push(ValueInfo {
            name,
            shape: Some(tensor.size().into_iter().map(Some).collect()),
        });
        self.constants.insert(id, tensor);
        id
    }

    /// A `view` that was valid at export may be invalid for channels-last tensors or without an identity that copied; `reshape`
    /// copies where necessary.
    fn view_as_reshape(&mut self) {
        for node in self
            .nodes
            .iter_mut()
            .filter(|node| node.full_name() == "aten::view")
        {
            node.operator = "aten::reshape".into();
            for (name, _) in node.arguments.iter_mut().filter(|(name, _)| name == "size") {
                *name = "shape".into();
            }
        }
    }
}

fn replace_reads(node: &mut Node, from: ValueId, to: ValueId) {
    let change = |id: &mut ValueId| {
        if *id == from {
            *id = to;
        }
    };
    for (_, argument) in &mut node.arguments {
        match argument {
            Argument::Tensor(id) | Argument::Int(Int::Symbolic(id)) => change(id),
            Argument::Tensors(list) => list.iter_mut().flatten().for_each(change),
            Argument::Ints(list) => list.iter_mut().for_each(|int| {
                if let Int::Symbolic(id) = int {
                    change(id);
                }
            }),
            _ => {}
        }
    }
}
