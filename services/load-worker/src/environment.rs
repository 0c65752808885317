//! Texts of a scenario's `config` that come from the environment of the load-worker: keys and tokens, which are not to stand in a
//! plan, for a plan is copied into run directories and kept by the suite.

use std::collections::BTreeSet;

use serde_json::Value;

/// The one key of a table that stands for a text: `{ from-environment = "NAME" }`.
const KEY: &str = "from-environment";

/// `config` with the text of the variable NAME in the place of every table `{ from-environment = "NAME" }`. A table with other
/// keys beside this one, or with another value than a text, is the guest's own and stays.
///
/// # Errors
/// The names of all variables that `variable` does not have.
pub fn with_environment(
    config: &Value,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Value, BTreeSet<String>> {
    let mut missing = BTreeSet::new();
    let mut config = config.clone();
    fill(&mut config, variable, &mut missing);
    if missing.is_empty() { Ok(config) } else { Err(missing) }
}

/// A plan's values are as deep as its parser lets them be, so this does not nest without end.
fn fill(value: &mut Value, variable: &impl Fn(&str) -> Option<String>, missing: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            let only = (entries.len() == 1).then(|| entries.get(KEY).and_then(Value::as_str)).flatten();
            match only.map(|name| variable(name).ok_or_else(|| name.to_owned())) {
                Some(Ok(text)) => *value = Value::String(text),
                Some(Err(name)) => {
                    missing.insert(name);
                }
                None => entries.values_mut().for_each(|value| fill(value, variable, missing)),
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|value| fill(value, variable, missing)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_test(name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "hush".to_owned())
    }

    #[test]
    fn a_variable_s_text_stands_where_its_table_stood() {
        let config = json!({
            "auth": { "bearer": { "from-environment": "TOKEN" } },
            "steps": [{ "headers": { "x-key": { "from-environment": "TOKEN" } } }, 1],
        });
        let wanted =
            json!({ "auth": { "bearer": "hush" }, "steps": [{ "headers": { "x-key": "hush" } }, 1] });
        assert_eq!(with_environment(&config, &of_test), Ok(wanted));
    }

    #[test]
    fn other_tables_are_the_guest_s_own() {
        let config =
            json!({ "json": { "from-environment": "TOKEN", "n": 1 }, "a": { "from-environment": 5 } });
        assert_eq!(with_environment(&config, &of_test), Ok(config));
    }

    #[test]
    fn all_that_is_missing_is_named_once() {
        let config = json!([
            { "from-environment": "B" }, { "from-environment": "A" }, { "from-environment": "B" }, { "from-environment": "TOKEN" }
        ]);
        assert_eq!(with_environment(&config, &of_test), Err(["A", "B"].map(str::to_owned).into()));
    }
}
