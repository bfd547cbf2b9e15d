//! A new `pipeline.toml`: the demo's, with its comments, but other settings.

/// The demo's settings, which document every key.
const DEMO: &str = include_str!("../../pipeline.toml");

/// Lines of a remark are no longer than this.
const WIDTH: usize = 118;

/// What a new file says at one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub section: &'static str,
    pub key: &'static str,
    /// `None` leaves the default.
    pub value: Option<toml::Value>,
    /// What is told in comments above it.
    pub remarks: Vec<String>,
}

/// The text of a configuration: `head` as comments, then every section and key with its documentation, as a comment where
/// `settings` give it no value.
pub fn written(head: &[String], settings: &[Setting]) -> String {
    let mut text = String::new();
    head.iter().for_each(|line| text += &comment(line));
    text += "#\n# Every key is here. A commented line shows the key's default, or, where there is none, an example. Relative paths\n\
             # count from this file's folder. On the command line, `--set SECTION.KEY=VALUE` wins over this file.\n\n";
    let lines: Vec<&str> = DEMO
        .lines()
        .skip_while(|line| !line.starts_with('['))
        .collect();
    let mut section = "";
    for (at, line) in lines.iter().enumerate() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name;
        }
        let Some(key) = key_of(line) else {
            text += line;
            text.push('\n');
            continue;
        };
        let documented = at > 0 && key_of(lines[at - 1]) == Some(key);
        match line.starts_with('#') {
            true => text += &format!("{line}\n"),
            // The demo's own setting serves as an example where there is no default.
            false if !documented => text += &format!("# {line}\n"),
            false => {}
        }
        let last = lines.get(at + 1).and_then(|line| key_of(line)) != Some(key);
        let here = |setting: &&Setting| setting.section == section && setting.key == key;
        if let Some(setting) = settings.iter().find(here).filter(|_| last) {
            setting
                .remarks
                .iter()
                .for_each(|line| text += &comment(line));
            if let Some(value) = &setting.value {
                text += &format!("{key} = {value}\n");
            }
        }
    }
    text
}

/// The key of a line that sets one, commented or not.
pub(super) fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.trim_start_matches("# ").split_once(" = ")?;
    (!key.contains(' ')).then_some(key)
}

/// A remark as comment lines.
fn comment(remark: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in remark.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line != "#" {
            lines += &format!("{line}\n");
            line = String::from("#  ");
        }
        line += &format!(" {word}");
    }
    lines + line.trim_end() + "\n"
}
