use super::*;

#[test]
fn a_failed_check_says_which_what_was_seen_and_what_would_make_it_pass() {
    let check = Check::made("target ready", Err(Unmet::new("shop: connection refused", "start the target")));
    let reason = check.reason(PhaseName::Idle);
    assert_eq!(reason.code, 3);
    assert_eq!(reason.text, "before phase idle: target ready: shop: connection refused: start the target");
    let Event::PrePhaseCheck { phase, check, passed, seen, mend } = check.event(2) else {
        panic!("another event")
    };
    assert_eq!((phase, passed), (2, false));
    assert_eq!([check, seen, mend], ["target ready", "shop: connection refused", "start the target"]);
}
