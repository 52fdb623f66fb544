//! `PRIVACY.md` and the attacks: each test that the page names exists, and the page names each attack.

use std::path::Path;

#[test]
fn every_test_that_the_page_names_is_there_and_every_attack_is_named() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = include_str!("../../PRIVACY.md");
    let (_, table) = page.split_once("| Claim | Test |").unwrap();
    let mut named = 0;
    for test in table.split('`').skip(1).step_by(2).filter(|word| word.contains("::")) {
        let mut path: Vec<&str> = test.split("::").collect();
        let function = format!("fn {}(", path.pop().unwrap());
        let file = path.join("/");
        let beside = file.strip_suffix("/tests").unwrap_or(&file);
        let places = [
            format!("src/{file}.rs"),
            format!("src/{beside}.rs"),
            format!("src/{beside}/mod.rs"),
            format!("tests/api/{file}.rs"),
            format!("../{}.rs", file.replacen('/', "/tests/api/", 1)),
        ];
        let holds = |place: &String| {
            std::fs::read_to_string(root.join(place)).is_ok_and(|text| text.contains(&function))
        };
        assert!(places.iter().any(holds), "`{test}` is not in {places:?}");
        named += 1;
    }
    assert!(named > 20, "{named} tests");
    for (folder, prefix) in
        [("tests/api/attacks", "`attacks"), ("../pod-proxy/tests/api/attacks", "`pod-proxy::attacks")]
    {
        for attack in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = attack.unwrap().file_name().into_string().unwrap();
            let name = name.strip_suffix(".rs").unwrap();
            let named = table.contains(&format!("{prefix}::{name}::"));
            assert!(["mod", "main"].contains(&name) || named, "no claim is held by {name}");
        }
    }
}
