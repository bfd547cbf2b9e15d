use super::{placeholders::placeholders, *};

const QUERY: &str = "\
-- Which rows?
--
-- param class class = '' : this class only
-- param word text = 'it''s' : a word
-- param min number = 0.5 : minimum
-- param rows integer = 50 : row limit
-- needs images, probe
select '$not', \"$nor\" /* $neither */ -- $nothing
from images where name = $class or name=$word or p >= $min -- ' $
limit $rows";

fn audit() -> Audit {
    Audit::parse("example", QUERY).unwrap()
}

fn bound(given: &[&str]) -> Result<Bound> {
    let given: Vec<String> = given.iter().map(|text| text.to_string()).collect();
    audit().bind(&given)
}

fn refused(given: &[&str]) -> String {
    bound(given).unwrap_err().to_string()
}

#[test]
fn header_declares_parameters_and_tables() {
    let audit = audit();
    assert_eq!(audit.title, "Which rows?");
    assert_eq!(audit.needs, ["images", "probe"]);
    let shown: Vec<String> = audit.parameters.iter().map(Parameter::to_string).collect();
    assert_eq!(
        shown,
        [
            "class class = ''",
            "word text = 'it''s'",
            "min number = 0.5",
            "rows integer = 50"
        ]
    );
    assert_eq!(audit.parameters[3].about, "row limit");
    let json = serde_json::to_value(&audit).unwrap();
    assert_eq!(json["parameters"][1]["default"], "it's");
    assert_eq!(json["parameters"][2]["kind"], "number");
    let plain = Audit::parse("", "select 1").unwrap();
    assert!(plain.title.is_empty() && plain.parameters.is_empty());
}

#[test]
fn all_errors_of_a_header_are_reported() {
    let text = "-- A\n-- param a word = 'x' : y\n-- param b integer = 1.5 : y\n-- param c\n-- param D text = '' : y\n\
                -- param e text = x : y\n-- param f text = 'a'b' : y\n-- param g number = 1 : y\n-- param g number = 2 : y\n\
                select $z, $z, $g";
    let problems = Audit::parse("", text).unwrap_err();
    let expected = [
        "a kind, one of text, class, finding, integer, number, found word",
        "expected a whole number",
        "expected `-- param NAME KIND = DEFAULT : DESCRIPTION`",
        "a name of the letters a-z",
        "text in single quotes",
        "text in single quotes",
        "g is declared twice",
        "$z is not declared",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, part) in problems.iter().zip(expected) {
        assert!(problem.contains(part), "{problem}: {part}");
    }
    let problems = Audit::parse("", "-- param a text = '' : y\nselect '$a'").unwrap_err();
    assert_eq!(problems, ["parameter a is unused"]);
}

#[test]
fn only_placeholders_are_replaced() {
    let sql = bound(&[]).unwrap().sql;
    assert!(
        sql.contains("select '$not', \"$nor\" /* $neither */ -- $nothing\n"),
        "{sql}"
    );
    assert!(
        sql.contains("name = '' or name='it''s' or p >= 0.5 -- ' $\nlimit 50"),
        "{sql}"
    );
    let bound = bound(&["class=a cat", "min=1", "rows=-3", "word="]).unwrap();
    assert!(
        bound
            .sql
            .contains("name = 'a cat' or name='' or p >= 1.0 -- ' $\nlimit (-3)"),
        "{}",
        bound.sql
    );
    assert_eq!(bound.classes, [("class".to_string(), "a cat".to_string())]);
}

#[test]
fn text_is_quoted_against_injection() {
    for hostile in [
        "' or 1=1 --",
        "''",
        "\\' or 1=1 --",
        "$rows",
        "x'; drop table images; --",
        "/*",
        "a=b",
        "\u{1b}[2J\n",
    ] {
        let sql = bound(&[&format!("word={hostile}")]).unwrap().sql;
        let expected = format!("name='{}' or p >= 0.5", hostile.replace('\'', "''"));
        assert!(sql.contains(&expected), "{sql}");
        // No placeholder survives.
        assert_eq!(placeholders(&sql), []);
    }
    assert!(refused(&["word=a\0b"]).contains("without NUL"));
}

#[test]
fn all_invalid_parameters_are_reported() {
    let text = refused(&["clas=x", "rows=many", "min=inf", "rows", "rows=1", "rows=2"]);
    for part in [
        "-p clas: query example has no such parameter (did you mean `class`?); it has class class = '', word text",
        "-p rows: expected a whole number, found \"many\" (row limit)",
        "-p min: expected a number, found \"inf\"",
        "-p rows: expected NAME=VALUE",
        "-p rows is given twice",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let text =
        "-- A\n-- param kind finding = '' : of this kind\nselect 1 from issues where kind = $kind";
    let of_kind = Audit::parse("", text).unwrap();
    assert!(of_kind.bind(&["kind=leak".into()]).is_ok() && of_kind.bind(&["kind=".into()]).is_ok());
    let text = of_kind.bind(&["kind=lek".into()]).unwrap_err().to_string();
    assert!(
        text.contains("-p kind: expected a kind of finding (expected one of label, ")
            && text.contains("did you mean `leak`"),
        "{text}"
    );
    let none = Audit::parse("", "select 1 from images").unwrap();
    let text = none.bind(&["a=1".into()]).unwrap_err().to_string();
    assert_eq!(text, "-p a: the statement has no parameters");
}

#[test]
fn placeholders_end_with_their_names() {
    let names = |sql| -> Vec<&str> {
        placeholders(sql)
            .into_iter()
            .map(|(_, name)| name)
            .collect()
    };
    assert_eq!(names("$a+$b_2,$c)"), ["a", "b_2", "c"]);
    assert_eq!(names("$1 $ $A $$ $no $$ $x$ $y $x$ $z"), ["z"]);
    assert_eq!(names("a - $b / $c -- $d\n$e /* $f"), ["b", "c", "e"]);
    assert_eq!(names("'it''s $a' $b 'open $c"), ["b"]);
}

#[test]
fn numbers_are_portable_literals() {
    let number = |value: f64| Value::Number(value).to_string();
    assert_eq!(number(1e-7), "0.0000001");
    assert_eq!(number(-2.0), "(-2.0)");
    assert_eq!(number(1e20), "100000000000000000000.0");
    assert_eq!(
        Value::Integer(i64::MIN).to_string(),
        format!("({})", i64::MIN)
    );
}

#[test]
fn built_in_queries_are_documented() {
    let catalog = Catalog::default();
    let names = catalog.names().unwrap();
    assert!(names.len() >= 18);
    for name in names {
        let audit = catalog.find(&name).unwrap();
        assert!(
            audit.title.ends_with('?') && audit.title.len() < 90,
            "{name}"
        );
        let lines: Vec<&str> = audit.text.lines().collect();
        assert!(
            lines[1] == "--" && lines[2].starts_with("-- "),
            "{name}: explanation missing"
        );
        assert!(
            lines.iter().all(|line| line.chars().count() <= 132),
            "{name}"
        );
        let used =
            polars::sql::extract_table_identifiers(&audit.bind(&[]).unwrap().sql, false, true)
                .unwrap();
        for table in &audit.needs {
            assert!(used.contains(table), "{name} does not read {table}");
        }
        let others: Vec<String> = used
            .into_iter()
            .filter(|table| !audit.needs.contains(table))
            .collect();
        for table in others {
            assert!(
                audit.text.contains(&format!("{table} as (")),
                "{name} does not declare {table}"
            );
        }
        for parameter in &audit.parameters {
            assert!(!parameter.about.is_empty(), "{name}: {}", parameter.name);
        }
    }
}
