//! `gauntlet chaos`: faults of a run that is under way.

use std::io::Read as _;
use std::path::Path;

use protocol::faults::{CapabilityView, FaultState, FaultView};
use report::figures::length;
use serde::Deserialize;
use serde_json::{Value, json};

use super::live_run::{LiveRun, block_on};
use crate::args::{ChaosArgs, ChaosCommand};
use crate::failure::Failure;
use crate::{output, table};

/// What the API answers of a run's faults.
#[derive(Deserialize)]
struct Faults {
    faults: Vec<FaultView>,
    capabilities: Vec<CapabilityView>,
}

pub(crate) fn dispatch(args: &ChaosArgs) -> Result<u8, Failure> {
    // Read before anything is asked.
    let toml = match &args.action {
        ChaosCommand::Run { fault, file } => Some(match file {
            Some(file) => read(file)?,
            None => as_toml(fault)?,
        }),
        _ => None,
    };
    block_on(async {
        let run = LiveRun::find(&args.run).await?;
        let (answer, text) = match &args.action {
            ChaosCommand::List => {
                let answer = run.get("faults").await?;
                let text = list(&parse(&answer)?);
                (answer, text)
            }
            ChaosCommand::Run { .. } => {
                let answer = run.post("faults", &json!({ "fault": toml.unwrap_or_default() })).await?;
                let fault = answer["fault"].as_str().unwrap_or_default();
                let text = format!("{fault}: is being injected; `gauntlet chaos list` shows how far it is\n");
                (answer, text)
            }
            ChaosCommand::Stop { fault } => {
                let answer = run.post("faults/stop", &json!({ "fault": fault })).await?;
                let text = stopped(&answer);
                (answer, text)
            }
        };
        output::print(&if args.json { format!("{answer}\n") } else { text });
        Ok(0)
    })
}

fn parse(answer: &Value) -> Result<Faults, Failure> {
    Faults::deserialize(answer)
        .map_err(|error| Failure::environment(format!("the API's answer cannot be read: {error}")))
}

fn list(faults: &Faults) -> String {
    if faults.faults.is_empty() {
        return "no faults: the plan has none, and none was asked for\n".to_owned();
    }
    let rows: Vec<Vec<String>> = faults.faults.iter().map(row).collect();
    let mut text = table::left(&["fault", "state", "at", "for", "does", "stops when", "detail"], &rows);
    for missing in faults.capabilities.iter().filter(|capability| !capability.available) {
        text.push_str(&format!("cannot be done here: {}: {}\n", missing.recipe, missing.reason));
    }
    text
}

fn row(view: &FaultView) -> Vec<String> {
    let planned = &view.planned;
    let victims = match planned.victims.as_slice() {
        [] => planned.target.clone(),
        victims => victims.join(", "),
    };
    vec![
        planned.fault.clone(),
        state(view.state).to_owned(),
        length(planned.at_ms),
        length(planned.duration_ms),
        format!("{} on {victims}", planned.parameters),
        planned.stop.clone(),
        view.detail.clone(),
    ]
}

const fn state(state: FaultState) -> &'static str {
    match state {
        FaultState::Planned => "planned",
        FaultState::Beginning => "beginning",
        FaultState::Injected => "injected",
        FaultState::Ending => "ending",
        FaultState::Ended => "ended",
        FaultState::Skipped => "skipped",
        FaultState::Unrecovered => "UNRECOVERED",
    }
}

fn stopped(answer: &Value) -> String {
    let ended: Vec<&str> =
        answer["ended"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if ended.is_empty() {
        "no fault was there\n".to_owned()
    } else {
        format!("undone, and read back: {}\n", ended.join(", "))
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let wrong = |error| Failure::input(format!("--file: cannot read {}: {error}", file.display()));
    if file.as_os_str() != "-" {
        return std::fs::read_to_string(file).map_err(wrong);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).map_err(wrong)?;
    Ok(text)
}

/// Pairs of the command line as a table of TOML: what is no number, truth value, list, table or string there is text.
fn as_toml(pairs: &[String]) -> Result<String, Failure> {
    let mut text = String::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            return Err(Failure::input(format!(
                "fault: found {pair:?}, expected KEY=VALUE such as recipe=kill; keys are those of [[chaos]]"
            )));
        };
        let bare = value.parse::<f64>().is_ok()
            || matches!(value, "true" | "false")
            || value.starts_with(['"', '\'', '[', '{']);
        // Strings of JSON are strings of TOML.
        let value = if bare { value.to_owned() } else { Value::from(value).to_string() };
        text.push_str(&format!("{key} = {value}\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use protocol::faults::PlannedFault;

    use super::*;

    #[test]
    fn pairs_become_a_table() {
        let pairs = ["recipe=latency", "target=shop", "latency=50ms", "share=0.5", "stop=error_rate > 50%"];
        let text = as_toml(&pairs.map(str::to_owned)).unwrap();
        assert_eq!(
            text,
            "recipe = \"latency\"\ntarget = \"shop\"\nlatency = \"50ms\"\nshare = 0.5\nstop = \"error_rate > 50%\"\n"
        );
        assert_eq!(as_toml(&["mode={ fixed = 2 }".to_owned()]).unwrap(), "mode = { fixed = 2 }\n");
        let wrong = as_toml(&["kill".to_owned()]).unwrap_err();
        assert!(wrong.code() == 2 && wrong.to_string().contains("KEY=VALUE"), "{wrong}");
    }

    #[test]
    fn a_list_says_what_is_there_and_what_cannot_be_done() {
        let planned = PlannedFault {
            fault: "a shop dies".to_owned(),
            recipe: "kill".to_owned(),
            target: "shop".to_owned(),
            phase: 6,
            at_ms: 1_500,
            duration_ms: 20_000,
            victims: vec!["shop-a".to_owned()],
            parameters: "kill".to_owned(),
            stop: "none".to_owned(),
            by: "plan".to_owned(),
        };
        let view = FaultView { planned, state: FaultState::Ended, detail: "its time is over".to_owned() };
        let missing = CapabilityView {
            recipe: "clock-skew".to_owned(),
            backend: "fault agent".to_owned(),
            available: false,
            reason: "libfaketime is not there".to_owned(),
        };
        let text = list(&Faults { faults: vec![view], capabilities: vec![missing] });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "fault        state  at     for   does            stops when  detail");
        assert_eq!(lines[1], "a shop dies  ended  1.5 s  20 s  kill on shop-a  none        its time is over");
        assert_eq!(lines[2], "cannot be done here: clock-skew: libfaketime is not there");
        assert!(list(&Faults { faults: Vec::new(), capabilities: Vec::new() }).starts_with("no faults"));
    }
}
