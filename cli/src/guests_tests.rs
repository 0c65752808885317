use super::*;

fn guests() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in
        [("http.wasm", "h"), ("http@2.0.0.wasm", "h2"), ("mcp.wasm", "m"), ("notes.txt", "n")]
    {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let dirs = vec![PathBuf::from("/nowhere"), dir.path().to_owned()];
    (dir, dirs)
}

fn named(name: &str, version: Option<&str>) -> GuestRef {
    GuestRef::Name { name: name.to_owned(), version: version.map(str::to_owned) }
}

#[test]
fn by_name_version_digest_and_path() {
    let (dir, dirs) = guests();
    let must_be = find(&named("mcp", Some("1.0.0")), dir.path(), &dirs).unwrap().must_be;
    assert_eq!(must_be.as_deref(), Some("1.0.0"), "the file's name does not say");
    let find = |guest: &GuestRef| find(guest, dir.path(), &dirs).map(|guest| guest.bytes);
    assert_eq!(find(&named("http", None)).unwrap(), b"h");
    assert_eq!(find(&named("http", Some("2.0.0"))).unwrap(), b"h2");
    assert_eq!(find(&named("mcp", Some("1.0.0"))).unwrap(), b"m");
    assert_eq!(find(&GuestRef::Digest(digest(b"m"))).unwrap(), b"m");
    let path = GuestRef::Path { path: "./mcp.wasm".into(), digest: Some(digest(b"m")) };
    assert_eq!(find(&path).unwrap(), b"m");
}

#[test]
fn what_is_not_there_says_what_is() {
    let (dir, dirs) = guests();
    let problem = |guest: &GuestRef| find(guest, dir.path(), &dirs).unwrap_err();
    assert!(problem(&named("htpp", None)).contains("did you mean \"http\"?"));
    assert!(problem(&named("htpp", Some("2.0.0"))).contains("did you mean \"http@2.0.0\"?"));
    let wrong = GuestRef::Path { path: "mcp.wasm".into(), digest: Some(digest(b"other")) };
    let said = problem(&wrong);
    assert!(said.contains(&digest(b"m")) && said.contains(&digest(b"other")), "{said}");
    assert!(problem(&GuestRef::Digest(digest(b"x"))).contains("http sha256:"));
    assert!(problem(&GuestRef::Path { path: "none.wasm".into(), digest: None }).contains("cannot be read"));
}
