use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn call(breaker: &mut Breaker, outcome: Outcome, now: Duration) -> bool {
    match breaker.admit(now) {
        Ok(permit) => {
            breaker.record(permit, outcome, now);
            true
        }
        Err(_) => false,
    }
}

fn calls(breaker: &mut Breaker, count: usize, outcome: Outcome, now: Duration) {
    (0..count).for_each(|n| assert!(call(breaker, outcome, now), "call {n} of {count} was refused"));
}

fn opened() -> Breaker {
    let mut breaker = Breaker::new(Settings::default());
    calls(&mut breaker, 5, Outcome::Failure, at(0));
    breaker
}

#[test]
fn the_defaults_are_five_failures_thirty_seconds_three_probes() {
    let expected = Settings { failures: 5, rate: None, open_for: at(30), probes: 3 };
    assert_eq!(Settings::default(), expected);
}

#[test]
fn failures_in_a_row_open_it() {
    let mut breaker = Breaker::new(Settings::default());
    for _ in 0..3 {
        calls(&mut breaker, 4, Outcome::Failure, at(0));
        calls(&mut breaker, 1, Outcome::Success, at(0));
    }
    assert_eq!((breaker.state(), breaker.counts().opened), (State::Closed, 0));
    calls(&mut breaker, 5, Outcome::Failure, at(0));
    assert_eq!((breaker.state(), breaker.counts().opened), (State::Open, 1));
}

#[test]
fn cancelled_calls_neither_open_it_nor_begin_the_row_anew() {
    let mut breaker = Breaker::new(Settings::default());
    calls(&mut breaker, 100, Outcome::Cancelled, at(0));
    calls(&mut breaker, 4, Outcome::Failure, at(0));
    calls(&mut breaker, 1, Outcome::Cancelled, at(0));
    assert_eq!(breaker.state(), State::Closed);
    calls(&mut breaker, 1, Outcome::Failure, at(0));
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn open_it_refuses_until_its_time_has_passed_and_says_how_long() {
    let mut breaker = opened();
    assert_eq!(breaker.admit(at(10)).unwrap_err(), Rejected::Open { retry_in: at(20) });
    assert!(!call(&mut breaker, Outcome::Success, at(30) - Duration::from_nanos(1)));
    assert_eq!((breaker.counts().rejected, breaker.state()), (2, State::Open));
    assert!(call(&mut breaker, Outcome::Success, at(30)));
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[test]
fn rejected_calls_do_not_keep_it_open() {
    let mut breaker = opened();
    (0..1_000).for_each(|_| assert!(breaker.admit(at(29)).is_err()));
    assert!(breaker.admit(at(30)).is_ok());
}

#[test]
fn good_probes_close_it_and_a_bad_one_opens_it_again() {
    let mut breaker = opened();
    calls(&mut breaker, 2, Outcome::Success, at(30));
    assert_eq!(breaker.state(), State::HalfOpen);
    calls(&mut breaker, 1, Outcome::Failure, at(31));
    assert_eq!((breaker.state(), breaker.counts().opened), (State::Open, 2));
    assert_eq!(breaker.admit(at(60)).unwrap_err(), Rejected::Open { retry_in: at(1) });
    calls(&mut breaker, 3, Outcome::Success, at(61));
    assert_eq!((breaker.state(), breaker.counts().closed), (State::Closed, 1));
}

#[test]
fn half_open_it_admits_as_many_at_once_as_it_has_probes() {
    let mut breaker = opened();
    let mut probes: Vec<_> = (0..3).map(|_| breaker.admit(at(30)).unwrap()).collect();
    assert_eq!(breaker.admit(at(30)).unwrap_err(), Rejected::Probing);
    breaker.record(probes.pop().unwrap(), Outcome::Cancelled, at(30));
    probes.push(breaker.admit(at(30)).expect("a cancelled probe gives its place back"));
    breaker.record(probes.pop().unwrap(), Outcome::Success, at(30));
    assert_eq!(breaker.admit(at(30)).unwrap_err(), Rejected::Probing, "the one that succeeded counts too");
}

#[test]
fn what_comes_late_changes_nothing() {
    let mut breaker = Breaker::new(Settings::default());
    let of_closed = [breaker.admit(at(0)).unwrap(), breaker.admit(at(0)).unwrap()];
    calls(&mut breaker, 5, Outcome::Failure, at(0));
    let [first, second] = of_closed;
    breaker.record(first, Outcome::Success, at(1));
    assert_eq!(breaker.state(), State::Open);
    let probe = breaker.admit(at(30)).unwrap();
    let lost = breaker.admit(at(30)).unwrap();
    breaker.record(second, Outcome::Failure, at(30));
    assert_eq!(breaker.state(), State::HalfOpen, "a failure from before it broke is no probe's");
    breaker.record(probe, Outcome::Failure, at(30));
    calls(&mut breaker, 3, Outcome::Success, at(60));
    breaker.record(lost, Outcome::Failure, at(60));
    assert_eq!((breaker.state(), breaker.counts().late), (State::Closed, 3));
}

#[test]
fn a_share_opens_it_once_there_are_enough_calls() {
    let rate = Rate { percent: 50, window: at(10), minimum_calls: 10 };
    let settings = Settings { failures: 0, rate: Some(rate), ..Settings::default() };
    let mut breaker = Breaker::new(settings);
    calls(&mut breaker, 9, Outcome::Failure, at(0));
    assert_eq!(breaker.state(), State::Closed, "nine calls are too few");
    calls(&mut breaker, 12, Outcome::Success, at(0));
    calls(&mut breaker, 2, Outcome::Failure, at(0));
    assert_eq!(breaker.state(), State::Closed, "11 of 23 are less than half");
    calls(&mut breaker, 1, Outcome::Failure, at(0));
    assert_eq!(breaker.state(), State::Open, "12 of 24 are half");
}

#[test]
fn a_share_forgets_what_left_the_window_and_what_was_before_it_closed() {
    let rate = Rate { percent: 50, window: at(10), minimum_calls: 10 };
    let mut breaker = Breaker::new(Settings { failures: 0, rate: Some(rate), ..Settings::default() });
    calls(&mut breaker, 9, Outcome::Failure, at(0));
    calls(&mut breaker, 9, Outcome::Failure, at(10));
    assert_eq!(breaker.state(), State::Closed);
    calls(&mut breaker, 1, Outcome::Failure, at(19));
    assert_eq!(breaker.state(), State::Open);
    calls(&mut breaker, 3, Outcome::Success, at(49));
    calls(&mut breaker, 9, Outcome::Failure, at(49));
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn without_a_rule_it_never_opens() {
    let mut breaker = Breaker::new(Settings { failures: 0, ..Settings::default() });
    calls(&mut breaker, 1_000, Outcome::Failure, at(0));
    assert_eq!(breaker.counts().opened, 0);
}

#[derive(Clone, Debug)]
enum Step {
    Admit,
    /// The outcome of one of the calls in progress, by its place among them.
    End(usize, Outcome),
    /// Milliseconds.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome =
        prop_oneof![3 => Just(Outcome::Failure), 2 => Just(Outcome::Success), 1 => Just(Outcome::Cancelled)];
    prop_oneof![
        4 => Just(Step::Admit),
        4 => (any::<prop::sample::Index>(), outcome).prop_map(|(of, outcome)| Step::End(of.index(64), outcome)),
        1 => (0..1_500_u64).prop_map(Step::Wait),
    ]
}

/// What a breaker has to be, told over again: outcomes since the last change, of calls admitted since.
struct Model {
    state: State,
    since: Duration,
    generation: usize,
    outcomes: Vec<Outcome>,
}

impl Model {
    fn change(&mut self, state: State, now: Duration) {
        self.state = state;
        self.since = now;
        self.generation += 1;
        self.outcomes.clear();
    }

    fn successes(&self) -> usize {
        self.outcomes.iter().filter(|outcome| **outcome == Outcome::Success).count()
    }

    fn end(&mut self, outcome: Outcome, now: Duration, settings: &Settings) {
        self.outcomes.push(outcome);
        let said = self.outcomes.iter().rev().filter(|outcome| **outcome != Outcome::Cancelled);
        let row = said.take_while(|outcome| **outcome == Outcome::Failure).count();
        match self.state {
            State::Closed if row >= settings.failures as usize => self.change(State::Open, now),
            State::HalfOpen if outcome == Outcome::Failure => self.change(State::Open, now),
            State::HalfOpen if self.successes() >= settings.probes as usize => {
                self.change(State::Closed, now);
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(
        steps in prop::collection::vec(step(), 1..400),
        failures in 1..6_u32,
        probes in 1..5_u32,
    ) {
        let settings = Settings { failures, probes, open_for: at(1), rate: None };
        let mut breaker = Breaker::new(settings);
        let mut model = Model { state: State::Closed, since: at(0), generation: 0, outcomes: Vec::new() };
        let mut in_progress: Vec<(Permit, usize)> = Vec::new();
        let mut late = 0;
        let mut now = at(0);
        for step in steps {
            match step {
                Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
                Step::Admit => {
                    if model.state == State::Open && now >= model.since + settings.open_for {
                        model.change(State::HalfOpen, now);
                    }
                    let of_now = in_progress.iter().filter(|(_, of)| *of == model.generation).count();
                    let expected = match model.state {
                        State::Closed => Ok(()),
                        State::Open => Err(Rejected::Open { retry_in: model.since + settings.open_for - now }),
                        State::HalfOpen if of_now + model.successes() >= probes as usize => Err(Rejected::Probing),
                        State::HalfOpen => Ok(()),
                    };
                    match breaker.admit(now) {
                        Ok(permit) => {
                            prop_assert_eq!(expected, Ok(()));
                            in_progress.push((permit, model.generation));
                        }
                        Err(rejected) => prop_assert_eq!(expected, Err(rejected)),
                    }
                }
                Step::End(_, _) if in_progress.is_empty() => {}
                Step::End(of, outcome) => {
                    let (permit, generation) = in_progress.swap_remove(of % in_progress.len());
                    breaker.record(permit, outcome, now);
                    if generation == model.generation {
                        model.end(outcome, now, &settings);
                    } else {
                        late += 1;
                    }
                }
            }
            prop_assert_eq!(breaker.state(), model.state);
            prop_assert_eq!(breaker.counts().late, late);
        }
    }

    /// The share, against a list of all calls that ended in the last tenths of the window.
    #[test]
    fn a_share_is_that_of_the_calls_in_the_window(
        calls in prop::collection::vec((any::<bool>(), 0..900_u64), 1..300),
        percent in 1..101_u32,
        minimum_calls in 1..20_u32,
    ) {
        let rate = Rate { percent, window: at(10), minimum_calls };
        let mut breaker = Breaker::new(Settings { failures: 0, rate: Some(rate), ..Settings::default() });
        let mut ended: Vec<(u64, bool)> = Vec::new();
        let mut now = at(0);
        for (failed, wait) in calls {
            now += Duration::from_millis(wait);
            let permit = breaker.admit(now).expect("closed until it opens, which ends the test");
            breaker.record(permit, if failed { Outcome::Failure } else { Outcome::Success }, now);
            ended.push((now.as_secs(), failed));
            let recent: Vec<_> = ended.iter().filter(|(second, _)| second + 10 > now.as_secs()).collect();
            let failures = recent.iter().filter(|(_, failed)| *failed).count();
            let enough = recent.len() >= minimum_calls as usize;
            let opens = failed && enough && failures * 100 >= recent.len() * percent as usize;
            prop_assert_eq!(breaker.state() == State::Open, opens);
            if opens {
                break;
            }
        }
    }
}
