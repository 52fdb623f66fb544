//! The imports of both services, held against the tables of rooms in ARCHITECTURE.md.
//!
//! A table has the form `| Room | May import | What it holds |`, and belongs to the crate named last before
//! it. The row of a room also applies to the modules in it, unless they have rows of their own
//! (`intake/writer`). Code for tests may import anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const CRATES: [&str; 2] = ["pod-proxy", "ingest-api"];

/// Begins a list of the rooms that may not be imported; all others may.
const ALL_BUT: &str = "everything";

/// `release/fold`, as its names.
type Module = Vec<String>;

/// A row of a table.
#[derive(Debug)]
struct Room {
    name: Module,
    /// Whether it may import all rooms except the named ones.
    all_but: bool,
    named: BTreeSet<Module>,
}

fn module(path: &str) -> Module {
    path.trim_end_matches('/').trim_end_matches(".rs").split('/').map(str::to_owned).collect()
}

/// The rows of a crate's table.
fn rooms(architecture: &str, of: &str) -> Vec<Room> {
    let mut rooms = Vec::new();
    let (mut crate_name, mut in_table) = ("", false);
    for line in architecture.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, room, may_import, _, _] = cells[..] else {
            crate_name = CRATES.into_iter().find(|name| line.contains(name)).unwrap_or(crate_name);
            in_table = false;
            continue;
        };
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(module).collect::<Vec<_>>();
        if [room, may_import] == ["Room", "May import"] {
            in_table = true;
        } else if in_table && crate_name == of {
            let (all_but, named) = (may_import.contains(ALL_BUT), BTreeSet::from_iter(quoted(may_import)));
            rooms.extend(quoted(room).into_iter().map(|name| Room { name, all_but, named: named.clone() }));
        }
    }
    rooms
}

/// A file of a crate, by its path in `src`.
struct File {
    path: String,
    text: String,
}

impl File {
    fn module(&self) -> Module {
        let mut module = module(&self.path);
        module.pop_if(|last| last == "mod");
        module
    }
}

/// Code as far as imports need it: without comments, literals and lifetimes.
#[derive(Clone, Debug)]
enum Token {
    /// A word, and its line.
    Word(String, usize),
    Mark(char),
    /// A bracketed group, with its opening bracket.
    Group(char, Vec<Token>),
}

/// Reads code up to the closing bracket of the current group.
fn tokens(code: &mut &str, line: &mut usize) -> Vec<Token> {
    let mut tokens = Vec::new();
    while let Some(first) = code.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            _ if code.starts_with("//") => code.find('\n').unwrap_or(code.len()),
            _ if code.starts_with("/*") => code.find("*/").map_or(code.len(), |end| end + 2),
            '"' => literal(code, '"'),
            // Distinguishes a lifetime from a character literal.
            '\'' if code[1..].starts_with('\\') || code[1..].chars().nth(1) == Some('\'') => {
                literal(code, '\'')
            }
            '\'' => 1 + code[1..].find(|c| !is_word(c)).unwrap_or(code.len() - 1),
            _ if is_word(first) => match raw_literal(code) {
                Some(length) => length,
                None => {
                    let length = code.find(|c| !is_word(c)).unwrap_or(code.len());
                    tokens.push(Token::Word(code[..length].to_owned(), *line));
                    length
                }
            },
            '(' | '[' | '{' => {
                *code = &code[1..];
                tokens.push(Token::Group(first, self::tokens(code, line)));
                continue;
            }
            ')' | ']' | '}' => {
                *code = &code[1..];
                break;
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Mark(first));
                }
                first.len_utf8()
            }
        };
        *line += code[..length].matches('\n').count();
        *code = &code[length..];
    }
    tokens
}

/// The length of the literal at the start of the code.
fn literal(code: &str, quote: char) -> usize {
    let mut is_escaped = true;
    let end = code.find(|c| {
        let ends = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.map_or(code.len(), |end| end + 1)
}

/// The length of the raw literal at the start of the code, if there is one.
fn raw_literal(code: &str) -> Option<usize> {
    let after = code.strip_prefix("br").or_else(|| code.strip_prefix('r'))?;
    let text = after.trim_start_matches('#');
    let hashes = &after[..after.len() - text.len()];
    let end = text.strip_prefix('"')?.find(&format!("\"{hashes}"))?;
    Some(code.len() - text.len() + 1 + end + 1 + hashes.len())
}

/// What the code of a file refers to.
#[derive(Default)]
struct Code {
    /// Modules and items, each with its line.
    imports: Vec<(usize, Module)>,
    /// Modules in files of their own that are compiled for tests only.
    for_tests: Vec<Module>,
}

impl Code {
    /// Reads the content of a module of that name.
    fn read(&mut self, crate_name: &str, module: &[String], mut code: &[Token]) {
        while let [first, after @ ..] = code {
            code = match (first, after) {
                _ if is_for_tests(code) => self.skip_item(module, &code[2..]),
                (Token::Word(word, _), [Token::Word(name, _), Token::Group(_, inner), others @ ..])
                    if word == "mod" =>
                {
                    self.read(crate_name, &[module, std::slice::from_ref(name)].concat(), inner);
                    others
                }
                (Token::Word(word, line), _) if path_separator(after).is_some() => match word.as_str() {
                    "super" => self.read_path(module[..module.len() - 1].to_vec(), *line, after),
                    word if word == "crate" || word == crate_name => {
                        self.read_path(Module::new(), *line, after)
                    }
                    _ => after,
                },
                (Token::Group(_, inner), _) => {
                    self.read(crate_name, module, inner);
                    after
                }
                _ => after,
            };
        }
    }

    /// Continues in a path or the tree of a `use`, from a possible `::`. Returns the rest.
    fn read_path<'t>(&mut self, mut path: Module, mut line: usize, mut code: &'t [Token]) -> &'t [Token] {
        while let Some(after) = path_separator(code) {
            match after {
                [Token::Word(name, its_line), others @ ..] => {
                    line = *its_line;
                    match name.as_str() {
                        "super" => drop(path.pop()),
                        name => path.push(name.to_owned()),
                    }
                    code = others;
                }
                [Token::Group('{', tree), others @ ..] => {
                    for branch in tree.split(|token| matches!(token, Token::Mark(','))) {
                        let [Token::Word(name, line), rest @ ..] = branch else { continue };
                        self.read_path([path.as_slice(), std::slice::from_ref(name)].concat(), *line, rest);
                    }
                    return others;
                }
                others => {
                    code = others;
                    break;
                }
            }
        }
        self.imports.push((line, path));
        code
    }

    /// Skips a test-only item, after the attribute that marks it.
    fn skip_item<'t>(&mut self, module: &[String], mut code: &'t [Token]) -> &'t [Token] {
        let mut is_use = false;
        while let [first, after @ ..] = code {
            match (first, after) {
                (Token::Word(word, _), [Token::Word(name, _), Token::Mark(';'), ..]) if word == "mod" => {
                    self.for_tests.push([module, std::slice::from_ref(name)].concat());
                }
                (Token::Word(word, _), _) if word == "use" => is_use = true,
                (Token::Mark(';'), _) => return after,
                (Token::Group('{', _), _) if !is_use => return after,
                _ => {}
            }
            code = after;
        }
        code
    }
}

/// Whether the code begins with `#[cfg(test)]`.
fn is_for_tests(code: &[Token]) -> bool {
    let [Token::Mark('#'), Token::Group('[', attribute), ..] = code else { return false };
    let [Token::Word(cfg, _), Token::Group('(', condition)] = attribute.as_slice() else { return false };
    cfg == "cfg" && matches!(condition.as_slice(), [Token::Word(test, _)] if test == "test")
}

/// What follows a `::`, if the code begins with one.
fn path_separator(code: &[Token]) -> Option<&[Token]> {
    match code {
        [Token::Mark(':'), Token::Mark(':'), rest @ ..] => Some(rest),
        _ => None,
    }
}

/// The errors in the imports of a crate, or in its table.
fn mistakes(crate_name: &str, rooms: &[Room], files: &[File]) -> Vec<String> {
    let extern_name = crate_name.replace('-', "_");
    let (mut mistakes, mut code) = (Vec::new(), Vec::new());
    let mut for_tests = Vec::new();
    for file in files {
        let mut of_file = Code::default();
        let module = file.module();
        // The modules of `lib.rs` are the crate's rooms.
        if module != ["lib"] {
            of_file.read(&extern_name, &module, &tokens(&mut file.text.as_str(), &mut 1));
        }
        for_tests.append(&mut of_file.for_tests);
        code.push((file, module, of_file.imports));
    }
    code.retain(|(_, module, _)| {
        module.last().is_some_and(|name| name != "tests")
            && !for_tests.iter().any(|test| module.starts_with(test))
    });
    let is_there = |name: &Module| code.iter().any(|(_, module, _)| module.starts_with(name));
    for room in rooms {
        let named = room.named.iter().filter(|name| **name != ["shared"]);
        for name in std::iter::once(&room.name).chain(named).filter(|name| !is_there(name)) {
            mistakes.push(format!("{crate_name}: the table names `{}`, which is no room", name.join("/")));
        }
    }
    for (file, module, imports) in &code {
        if module == &["lib"] {
            continue;
        }
        let own =
            rooms.iter().filter(|room| module.starts_with(&room.name)).max_by_key(|room| room.name.len());
        let Some(own) = own else {
            mistakes.push(format!("{crate_name}/src/{}: `{}` has no row in the table", file.path, module[0]));
            continue;
        };
        for (line, import) in imports {
            let is_own = import.is_empty() || import[0] == module[0];
            let is_named = own.named.iter().any(|name| import.starts_with(name));
            if !is_own && is_named == own.all_but {
                mistakes.push(format!(
                    "{crate_name}/src/{}:{line}: `{}` may not import `{}` (crate::{})",
                    file.path,
                    own.name.join("/"),
                    import[0],
                    import.join("::"),
                ));
            }
        }
    }
    mistakes
}

/// The Rust files below a folder.
fn files(folder: &Path, below: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), &format!("{below}{name}/"), found);
        } else if name.ends_with(".rs") {
            found.push(File {
                path: format!("{below}{name}"),
                text: fs::read_to_string(entry.path()).unwrap(),
            });
        }
    }
}

#[test]
fn rooms_import_only_what_the_architecture_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let mut wrong = Vec::new();
    for name in CRATES {
        let mut found = Vec::new();
        files(&root.join(name).join("src"), "", &mut found);
        wrong.extend(mistakes(name, &rooms(&architecture, name), &found));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[cfg(test)]
mod checker {
    use super::*;

    const TABLES: &str = "
## Rooms of `pod-proxy`

| Room | May import | What it holds |
| --- | --- | --- |
| `spool/` | `shared` | entries |

## Rooms of `ingest-api`

| Room | May import | What it holds |
| --- | --- | --- |
| `window/` | nothing | pure |
| `store/` | `window` | SQL |
| `intake/` | `window` | reports |
| `intake/writer` | `window`, `store` | the writer |
| `jobs/` | everything but `http` | what is done on a schedule |
| `http/`, `main` | `intake/limits`, `window` | routes |
";

    /// A crate with a file for each room, and the code in one of them.
    #[track_caller]
    fn check(path: &str, code: &str, expected: &[&str]) {
        let mut paths = BTreeSet::from([
            "window/mod.rs",
            "store/mod.rs",
            "intake/mod.rs",
            "intake/writer.rs",
            "intake/limits.rs",
            "jobs.rs",
            "http/mod.rs",
            "main.rs",
            "lib.rs",
        ]);
        paths.insert(path);
        let file = |of: &str| {
            let text = if of == path { code } else { "" };
            File { path: of.to_owned(), text: text.to_owned() }
        };
        let files: Vec<_> = paths.into_iter().map(file).collect();
        let found = mistakes("ingest-api", &rooms(TABLES, "ingest-api"), &files);
        assert_eq!(found, expected, "{code}");
    }

    #[test]
    fn what_the_table_allows_passes() {
        check("store/mod.rs", "use crate::window::Window;\nuse super::store::Database;", &[]);
        check("intake/writer.rs", "use crate::store::Database;\nuse super::limits::Limit;", &[]);
        check("jobs.rs", "use crate::{store, window::Window};", &[]);
        check("http/mod.rs", "use crate::intake::limits::Limit;", &[]);
        check("lib.rs", "pub use http::login_path;", &[]);
        check("main.rs", "fn main() { ingest_api::window::now() }", &[]);
    }

    #[test]
    fn a_forbidden_import_is_found_in_whatever_form() {
        let found =
            "ingest-api/src/window/mod.rs:2: `window` may not import `store` (crate::store::Database)";
        for code in [
            "\nuse crate::store::Database;",
            "\nuse crate::{store::{Database}};",
            "use crate::{\nstore::Database as Other, window::Window};",
            "\nuse super::store::Database;",
            "\nfn f(_: &crate::store::Database) {}",
            "mod inner {\nuse super::super::store::Database; }",
            "mod inner { fn f() { g!(1, \ncrate::store::Database::<u8>) } }",
            "#[cfg(test)] use crate::http::{A, B};\nuse crate::store::Database;",
            "#[cfg(test)] fn f() {}\nuse crate::store::Database;",
        ] {
            check("window/mod.rs", code, &[found]);
        }
        let found = "ingest-api/src/intake/mod.rs:1: `intake` may not import `store` (crate::store)";
        check("intake/mod.rs", "use crate::store::*;", &[found]);
        let found = "ingest-api/src/http/mod.rs:1: `http` may not import `intake` (crate::intake::Writer)";
        check("http/mod.rs", "use crate::intake::Writer;", &[found]);
        let found = "ingest-api/src/jobs.rs:1: `jobs` may not import `http` (crate::http)";
        check("jobs.rs", "use crate::http;", &[found]);
        let found = "ingest-api/src/main.rs:1: `main` may not import `store` (crate::store::ping)";
        check("main.rs", "fn main() { ingest_api::store::ping() }", &[found]);
    }

    #[test]
    fn tests_comments_and_text_are_no_imports() {
        check("window/mod.rs", "#[cfg(test)]\nmod tests { use crate::store::Database; }", &[]);
        check("window/mod.rs", "// use crate::store::Database;\n/// [`crate::store`]\nfn f() {}", &[]);
        check("window/mod.rs", "const A: &str = \"use crate::store::Database;\";\npub(crate) fn f() {}", &[]);
        check("window/mod.rs", "const A: &str = r#\"\"\\ crate::store::Database; \"#;", &[]);
        check(
            "window/mod.rs",
            "/* crate::store */ const A: [char; 3] = ['\"', '\\'', '\\\\']; // crate::store",
            &[],
        );
        let after = "ingest-api/src/window/mod.rs:3: `window` may not import `store` (crate::store::A)";
        check("window/mod.rs", "fn f<'a>(_: &'a str) { '\\n'; \"\\\"\n\" }\nuse crate::store::A;", &[after]);
        check("window/tests.rs", "use crate::store::Database;", &[]);
    }

    #[test]
    fn a_file_that_is_compiled_for_tests_only_may_import_anything() {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let files = |declared: &str| {
            [
                file("window/mod.rs", declared),
                file("window/random.rs", "use crate::store::A;"),
                file("store.rs", ""),
            ]
        };
        let table = "ingest-api\n| Room | May import | |\n| `window` | | |\n| `store` | | |";
        let found = |declared| mistakes("ingest-api", &rooms(table, "ingest-api"), &files(declared)).len();
        assert_eq!((found("#[cfg(test)]\nmod random;"), found("mod random;")), (0, 1));
    }

    #[test]
    fn each_room_has_a_row_and_each_row_a_room() {
        check("new.rs", "", &["ingest-api/src/new.rs: `new` has no row in the table"]);
        let rows = rooms(&TABLES.replace("`window/`", "`window/`, `gone/`"), "ingest-api");
        let files = ["window", "store", "intake/limits", "intake/writer", "jobs", "http", "main"];
        let files = files.map(|name| File { path: format!("{name}.rs"), text: String::new() });
        assert_eq!(
            mistakes("ingest-api", &rows, &files),
            ["ingest-api: the table names `gone`, which is no room"]
        );
        let without = mistakes("ingest-api", &[], &files);
        assert_eq!(without.len(), files.len(), "without a table, no room has a row");
    }
}
