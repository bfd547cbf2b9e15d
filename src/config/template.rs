//! Writes a new `pipeline.toml`: the demo's comments with other settings.

/// The demo's configuration, which documents every key.
const DEMO: &str = include_str!("../../pipeline.toml");

/// Maximum length of a comment line.
const WIDTH: usize = 118;

/// A setting of the new file.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub section: &'static str,
    pub key: &'static str,
    /// `None` for the default.
    pub value: Option<toml::Value>,
    /// Comments above it.
    pub remarks: Vec<String>,
}

/// The text of a configuration: `head` as comments, then every section and key with its documentation; keys without a value in
/// `settings` are commented out.
pub fn to_toml(head: &[String], settings: &[Setting]) -> String {
    let mut text = String::new();
    head.iter().for_each(|line| text += &comment(line));
    text += "#\n# All keys are listed. A commented line shows the key's default, or an example if it has none. Paths are relative to\n\
             # this file's folder. On the command line, `--set SECTION.KEY=VALUE` overrides this file.\n\n";
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
            // The demo's own setting is the example if there is no default.
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
