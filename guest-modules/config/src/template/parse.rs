//! `/items/{id}`: text and names between braces.

/// A piece of a text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// What stands between braces.
    Name(String),
}

/// Splits a text; `{{` and `}}` stand for braces.
///
/// # Errors
/// What is wrong and how to write it instead.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, (String, String)> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err((format!("a lone }} in \"{text}\""), "write }} for a brace".into()));
        }
        let name = after.split_once('}').filter(|(name, _)| is_name(name));
        let Some((name, after)) = name else {
            let found: String = after.chars().take(20).collect();
            return Err((
                format!("{{ is not followed by a name and a brace: \"{{{found}\""),
                "write {name} for a value, {{ for a brace".into(),
            ));
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Name(name.to_owned()));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Letters, digits and what columns are often named with; a colon and dots for `random:1..9`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 100 && name.chars().all(|c| c.is_alphanumeric() || "_-.: ".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn name(name: &str) -> Piece {
        Piece::Name(name.into())
    }

    #[test]
    fn names_stand_between_braces() {
        assert_eq!(parse("/items/{id}").unwrap(), [text("/items/"), name("id")]);
        assert_eq!(parse("{a}{b}x").unwrap(), [name("a"), name("b"), text("x")]);
        assert_eq!(parse("{random:1..9}").unwrap(), [name("random:1..9")]);
        assert_eq!(parse("plain").unwrap(), [text("plain")]);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(parse("{{\"a\": {x}}}").unwrap(), [text("{\"a\": "), name("x"), text("}")]);
        assert_eq!(parse("{{{x}}}").unwrap(), [text("{"), name("x"), text("}")]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (wrong, message) in
            [("{", "{"), ("{}", "{}"), ("a}", "lone }"), ("{\"a\":1}", "{\"a\""), ("{a", "{a")]
        {
            let (found, mend) = parse(wrong).unwrap_err();
            assert!(found.contains(message) && mend.contains("for a brace"), "{wrong}: {found}; {mend}");
        }
    }
}
