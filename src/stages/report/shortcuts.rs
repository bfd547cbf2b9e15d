//! The page of shortcuts and bias: units that fire for a mark, attributes correlated with labels, groups with low accuracy.

mod gather;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use askama::Template;
use prospect_common::{
    Result,
    text::{count, percent, plural},
};
use prospect_engine::{
    Context,
    schema::{associations, layers},
    tables::layers::{read_layers, unit_picture},
};
use prospect_store::Manifest;

use self::gather::{Association, ByValue};
use super::frame::{Frame, MESSAGE, NAME, PATH, Page, Shell, drawn, shown};

pub use self::gather::{Group, Groups, Suspect, suspects};

/// Maximum number of cards, and candidates that get one; other marks are rows of a table.
const CARDS: usize = 12;
const CANDIDATES: usize = 4;
/// Attributes with accuracy by value, and values per attribute.
const ATTRIBUTES: usize = 16;
const VALUES: usize = 12;
/// Associations in the table.
const ASSOCIATIONS: usize = 60;

/// `shortcuts.html`.
#[derive(Template)]
#[template(path = "shortcuts.html")]
struct ShortcutsPage {
    shell: Shell,
    /// Whether the stage has run.
    ready: bool,
    verdict: String,
    /// What the network does not see; empty if it sees all.
    unseen: String,
    cards: Vec<Card>,
    rows: Vec<SuspectRow>,
    associations: Vec<AssociationRow>,
    more_associations: String,
    worst: Vec<GroupRow>,
    attributes: Vec<AttributePanel>,
    more_attributes: String,
    source: &'static str,
}

/// Units that fire for one mark.
struct Card {
    anchor: String,
    title: String,
    flagged: bool,
    score: String,
    evidence: String,
    figures: Vec<(&'static str, String)>,
    /// The suspect's sheet and the unit's top patches; empty if not drawn.
    picture: String,
    alt: String,
    sheet: String,
    unit: String,
    layer: String,
    /// To the page of units; empty if the layer is unknown.
    link: String,
    others: String,
}

struct SuspectRow {
    rank: i32,
    class: String,
    unit: String,
    layer: String,
    link: String,
    kind: &'static str,
    score: String,
    flagged: bool,
    anchor: String,
    images: String,
    share_of_class: String,
    share_of_others: String,
}

struct AssociationRow {
    attribute: String,
    kind: String,
    strength: String,
    /// The bar's length in percent.
    percent: String,
    q_value: String,
    /// The most associated label and value.
    pair: String,
    lift: String,
    images: String,
}

struct GroupRow {
    attribute: String,
    value: String,
    label: String,
    images: String,
    accuracy: String,
    interval: String,
    rest: String,
    is_worse: bool,
    bar: Bar,
}

/// Percent of the width.
struct Bar {
    length: String,
    low: String,
    high: String,
    rest: String,
}

struct AttributePanel {
    name: String,
    rows: Vec<GroupRow>,
    more: String,
}

/// The page that shows the pictures of the stage; it draws none itself.
pub fn page(frame: &Frame) -> Result<Page> {
    let (ctx, manifest) = (frame.ctx, &frame.manifest);
    let stage = manifest.stages.get("shortcuts");
    let tables = Tables {
        ready: manifest.has(associations::NAME) || manifest.stages.contains_key("shortcuts"),
        suspects: suspects(ctx, manifest)?,
        associations: gather::associations(ctx, manifest)?,
        groups: Groups::of_run(ctx, manifest)?,
        unseen: stage.and_then(|stage| stage.summary["unseen"].as_f64()),
        whole: stage.is_some_and(|stage| stage.summary["whole"] == true),
        layers: match manifest.has(layers::NAME) {
            true => layer_places(ctx, manifest)?,
            false => HashMap::new(),
        },
        pictures: drawn(manifest, "patches").map(str::to_string).collect(),
    };
    let shell = frame.shell("shortcuts", &[]);
    frame.page("shortcuts", &ShortcutsPage::new(shell, &tables))
}

/// Index of each layer on the page of units.
fn layer_places(ctx: &Context, manifest: &Manifest) -> Result<HashMap<String, usize>> {
    let layers = read_layers(ctx.run, manifest)?;
    Ok((layers.into_iter().enumerate())
        .map(|(at, layer)| (layer.name, at))
        .collect())
}

/// Contents of the tables.
#[derive(Default)]
struct Tables {
    ready: bool,
    suspects: Vec<Suspect>,
    associations: Vec<Association>,
    groups: Groups,
    /// Mean fraction of the pictures outside the network's crop, and whether it was searched.
    unseen: Option<f64>,
    whole: bool,
    layers: HashMap<String, usize>,
    /// Contact sheets drawn by `patches`.
    pictures: HashSet<String>,
}

impl Tables {
    fn link(&self, suspect: &Suspect) -> String {
        match self.layers.get(&suspect.layer) {
            Some(layer) => format!(
                "units.html#layer={layer}&unit={}",
                suspect.unit.unwrap_or_default()
            ),
            None => String::new(),
        }
    }
}

impl ShortcutsPage {
    fn new(shell: Shell, tables: &Tables) -> ShortcutsPage {
        let mut of_mark: BTreeMap<i32, Vec<&Suspect>> = BTreeMap::new();
        for suspect in &tables.suspects {
            of_mark.entry(suspect.mark).or_default().push(suspect);
        }
        let mut marks: Vec<Vec<&Suspect>> = of_mark.into_values().collect();
        marks.sort_by_key(|mark| mark[0].rank);
        let has_card = |at: usize| at < CANDIDATES || marks[at].iter().any(|one| one.flagged);
        let cards: Vec<Card> = (0..marks.len())
            .filter(|&at| has_card(at))
            .take(CARDS)
            .map(|at| Card::of(&marks[at], tables))
            .collect();
        let anchors: HashSet<String> = cards.iter().map(|card| card.anchor.clone()).collect();
        let rows = tables
            .suspects
            .iter()
            .map(|one| SuspectRow::of(one, tables, &anchors));
        let more = |n: usize, shown: usize, what: &str| match n.saturating_sub(shown) {
            0 => String::new(),
            more => format!("{} more in the table {what}.", count(more as u64)),
        };
        let (metadata, quality): (Vec<_>, Vec<_>) = tables
            .groups
            .attributes
            .iter()
            .partition(|one| is_metadata(&one.attribute, tables));
        let attributes = metadata.into_iter().chain(quality).take(ATTRIBUTES);
        ShortcutsPage {
            shell,
            ready: tables.ready,
            verdict: verdict(&tables.suspects),
            unseen: unseen(tables.unseen, tables.whole),
            rows: rows.collect(),
            cards,
            associations: (tables.associations.iter().take(ASSOCIATIONS))
                .map(AssociationRow::of)
                .collect(),
            more_associations: more(tables.associations.len(), ASSOCIATIONS, "associations"),
            worst: tables.groups.worst.iter().map(GroupRow::of).collect(),
            attributes: attributes.map(AttributePanel::of).collect(),
            more_attributes: more(tables.groups.attributes.len(), ATTRIBUTES, "groups"),
            source: match tables.groups.source.as_deref() {
                Some("network") => "the network's predictions",
                _ => "a cross-validated linear probe on the network's features",
            },
        }
    }
}

fn is_metadata(attribute: &str, tables: &Tables) -> bool {
    let known = tables
        .associations
        .iter()
        .find(|one| one.attribute == attribute);
    known.is_some_and(|one| one.kind == "metadata")
}

fn verdict(suspects: &[Suspect]) -> String {
    let flagged: Vec<&Suspect> = suspects.iter().filter(|one| one.flagged).collect();
    let mut classes: Vec<String> = Vec::new();
    for suspect in &flagged {
        let name = shown(&suspect.class_name, NAME);
        if !classes.contains(&name) {
            classes.push(name);
        }
    }
    if classes.is_empty() {
        return match suspects.len() {
            0 => "No mark was found on the pictures of a single class, no unit responds to one small region in them, and the classifier \
                  does not rely on any unit that responds to the border."
                .into(),
            _ => "Nothing here is strong enough to be a finding. These are the likeliest candidates; most are harmless."
                .into(),
        };
    }
    let shown: Vec<String> = classes.iter().take(8).cloned().collect();
    let more = match classes.len() - shown.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!(
        "Something in one place of many photos of one class, and of few others: {}{more}. Look at the pictures: is it the object, or a \
         mark next to it?",
        shown.join(", ")
    )
}

fn unseen(share: Option<f64>, whole: bool) -> String {
    let searched = match whole {
        true => "Whole pictures were searched for marks.",
        false => "No mark there is found; set [audit] whole = true to search whole pictures.",
    };
    match share.filter(|share| *share >= 0.001) {
        Some(share) => format!(
            "{} of the pictures lies outside the crop that the network sees. {searched}",
            percent(share)
        ),
        None => String::new(),
    }
}

/// A p- or q-value.
fn small(value: f64) -> String {
    match value < 0.001 {
        true => "< 0.001".into(),
        false => format!("{value:.3}"),
    }
}

/// The evidence, capitalised.
fn sentence(evidence: &str) -> String {
    let evidence = shown(evidence, MESSAGE);
    let mut characters = evidence.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => evidence,
    }
}

impl Card {
    fn of(mark: &[&Suspect], tables: &Tables) -> Card {
        let first = mark[0];
        let class = shown(&first.class_name, NAME);
        let mut figures = vec![("Images", count(first.images.into()))];
        let mut figure_of = |name: &'static str, share: Option<f64>| {
            figures.extend(share.map(|share| (name, percent(share))));
        };
        figure_of("Share of the class", first.share_of_class);
        figure_of("Share of all others", first.share_of_others);
        if first.share_of_class.is_none() {
            figure_of("Peak at the border", first.border_share);
        }
        figure_of("Peak outside the boxes", first.outside_boxes);
        figure_of("Explanation energy at the border", first.border_energy);
        if let (Some(with), Some(without)) = (first.p_with, first.p_without) {
            figures.push(("p(class) with, without", format!("{with:.2}, {without:.2}")));
        }
        if let Some(drop) = first.accuracy_drop {
            figures.push((
                "Accuracy drop without it",
                format!("{:.1} points", 100.0 * drop),
            ));
        }
        if let Some(exclusivity) = first.exclusivity {
            figures.push(("AUROC", format!("{exclusivity:.2}")));
        }
        if let Some(q_value) = first.q_value {
            figures.push(("q", small(q_value)));
        }
        let picture = mark.iter().find_map(|one| one.picture.as_ref());
        let sheet = unit_picture(
            "patches",
            &first.layer,
            first
                .unit
                .and_then(|unit| usize::try_from(unit).ok())
                .unwrap_or(0),
        );
        Card {
            anchor: format!("mark-{}", first.mark),
            title: match first.kind.as_str() {
                "pattern" | "mark" => format!("A mark on {class}?"),
                "cast" => format!("A colour cast on {class}?"),
                _ => format!("Border of {class}?"),
            },
            alt: format!("Photos of {class} with it, the place enlarged, and photos without it"),
            flagged: first.flagged,
            score: format!("{:.2}", first.score),
            evidence: sentence(&first.evidence),
            figures,
            picture: picture.map_or(String::new(), |path| format!("../{path}")),
            sheet: match tables.pictures.contains(&sheet) {
                true => format!("../{sheet}"),
                false => String::new(),
            },
            unit: first.unit.map_or(String::new(), |unit| unit.to_string()),
            layer: shown(&first.layer, PATH),
            link: tables.link(first),
            others: match mark.len() - 1 {
                0 => String::new(),
                n => format!(
                    "{} for the same images, in this layer or others.",
                    plural(n as u64, "more unit fires", "more units fire")
                ),
            },
        }
    }
}

impl SuspectRow {
    fn of(suspect: &Suspect, tables: &Tables, anchors: &HashSet<String>) -> SuspectRow {
        let share = |share: Option<f64>| share.map_or("–".into(), percent);
        let anchor = format!("mark-{}", suspect.mark);
        SuspectRow {
            rank: suspect.rank,
            class: shown(&suspect.class_name, NAME),
            unit: suspect.unit.map_or("–".into(), |unit| unit.to_string()),
            layer: shown(&suspect.layer, PATH),
            link: tables.link(suspect),
            kind: match suspect.kind.as_str() {
                "pattern" => "pattern",
                "mark" => "mark",
                "cast" => "colour cast",
                _ => "border",
            },
            score: format!("{:.2}", suspect.score),
            flagged: suspect.flagged,
            anchor: match anchors.contains(&anchor) {
                true => anchor,
                false => String::new(),
            },
            images: count(suspect.images.into()),
            share_of_class: share(suspect.share_of_class),
            share_of_others: share(suspect.share_of_others),
        }
    }
}

impl AssociationRow {
    fn of(association: &Association) -> AssociationRow {
        let top = association.top.as_ref();
        AssociationRow {
            attribute: shown(&association.attribute, NAME),
            kind: match association.kind.as_str() {
                "metadata" => "metadata".into(),
                "quality" => "image".into(),
                other => shown(other, NAME),
            },
            strength: format!("{:.3}", association.ami),
            percent: format!("{:.1}", 100.0 * association.ami.clamp(0.0, 1.0)),
            q_value: small(association.q_value),
            pair: top.map_or(String::new(), |top| {
                format!(
                    "{} among {}",
                    shown(&top.label, NAME),
                    shown(&top.value, NAME)
                )
            }),
            lift: top.map_or(String::new(), |top| format!("{:.1} ×", top.lift)),
            images: top.map_or(String::new(), |top| count(top.images.into())),
        }
    }
}

impl GroupRow {
    fn of(group: &Group) -> GroupRow {
        let at = |share: f64| format!("{:.2}", 100.0 * share.clamp(0.0, 1.0));
        let [low, high] = group.interval;
        GroupRow {
            attribute: shown(&group.attribute, NAME),
            value: shown(&group.value, NAME),
            label: group
                .label
                .as_ref()
                .map_or(String::new(), |label| shown(label, NAME)),
            images: count(group.images.into()),
            accuracy: percent(group.accuracy),
            interval: format!("{:.1} to {}", 100.0 * low, percent(high)),
            rest: percent(group.rest),
            is_worse: group.is_worse,
            bar: Bar {
                length: at(group.accuracy),
                low: at(low),
                high: at(high),
                rest: at(group.rest),
            },
        }
    }
}

impl AttributePanel {
    /// Shows the worst of many values.
    fn of(attribute: &ByValue) -> AttributePanel {
        let mut groups: Vec<&Group> = attribute.groups.iter().collect();
        let more = groups.len().saturating_sub(VALUES);
        if more > 0 {
            groups.sort_by(|a, b| a.interval[1].total_cmp(&b.interval[1]));
            groups.truncate(VALUES);
        }
        AttributePanel {
            name: shown(&attribute.attribute, NAME),
            rows: groups.into_iter().map(GroupRow::of).collect(),
            more: match more {
                0 => String::new(),
                n => format!(
                    "{} higher accuracy.",
                    plural(n as u64, "more value has", "more values have")
                ),
            },
        }
    }
}
