use bus::{Address, CommandError, Requests, Why};
use protocol::v1::{Ack, EndRun, QueryAggregate, StartPhase};

use super::*;

fn start(phase: u32) -> StartPhase {
    StartPhase { phase, ..Default::default() }
}

async fn answer(requests: &mut Requests<StartPhase>) -> u32 {
    let request = soon(requests.next()).await.unwrap();
    let phase = request.body.phase;
    request.reply(Ok(Ack {}));
    phase
}

fn why(result: Result<Ack, CommandError>) -> Why {
    match result {
        Err(CommandError::NoAnswer(unanswered)) => {
            let text = unanswered.to_string();
            assert!(text.contains(&unanswered.subject) && text.contains("no answer"), "{text}");
            unanswered.why
        }
        result => panic!("{result:?}"),
    }
}

pub(crate) async fn a_command_is_answered_or_refused(Setup { bus, .. }: Setup) {
    let mut requests = bus.serve::<QueryAggregate>(Address::Service).await.unwrap();
    let ask = async |window_ns| {
        bus.command(&Address::Service, &QueryAggregate { window_ns, ..Default::default() }, LONG).await
    };
    let serve = async {
        while let Some(request) = requests.next().await {
            let (body, replier) = request.into_parts();
            assert!(replier.is_awaited());
            replier.reply(match body.window_ns {
                0 => Err("there is no such run".to_owned()),
                window => Ok(protocol::v1::Aggregate { to_offset_ns: window, ..Default::default() }),
            });
        }
    };
    let asked = async {
        assert_eq!(ask(5).await.unwrap().to_offset_ns, 5);
        match ask(0).await {
            Err(CommandError::Refused(text)) => assert_eq!(text, "there is no such run"),
            result => panic!("{result:?}"),
        }
    };
    tokio::select! { () = serve => panic!("the server ended"), () = soon(asked) => {} }
}

pub(crate) async fn servers_of_one_address_take_turns(Setup { bus, .. }: Setup) {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(bus.serve::<StartPhase>(Address::Service).await.unwrap());
    }
    let ask = async {
        for phase in 0..30 {
            bus.command(&Address::Service, &start(phase), LONG).await.unwrap();
        }
    };
    let mut counts = [0; 3];
    let serve = servers.iter_mut().zip(&mut counts).map(|(server, count)| {
        Box::pin(async move {
            loop {
                answer(server).await;
                *count += 1;
            }
        })
    });
    let mut serve: Vec<_> = serve.collect();
    let all = std::future::poll_fn(|context| {
        let _: Vec<std::task::Poll<()>> =
            serve.iter_mut().map(|server| server.as_mut().poll(context)).collect();
        std::task::Poll::<()>::Pending
    });
    tokio::select! { () = all => {}, () = ask => {} }
    drop(serve);
    // Each request to one server, and none left out; a broker may deal them less evenly than in turn.
    assert_eq!(counts.iter().sum::<i32>(), 30);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

pub(crate) async fn an_instance_gets_its_own_commands_only(Setup { bus, .. }: Setup) {
    let to = |id: &str| Address::Instance(id.to_owned());
    let mut first = bus.serve::<StartPhase>(to("w1")).await.unwrap();
    let mut second = bus.serve::<StartPhase>(to("w2")).await.unwrap();
    let mut any = bus.serve::<StartPhase>(Address::Service).await.unwrap();
    let mut other = bus.serve::<EndRun>(to("w2")).await.unwrap();
    let (command, address) = (start(4), to("w2"));
    let (answered, phase) = tokio::join!(bus.command(&address, &command, LONG), answer(&mut second));
    assert!(answered.is_ok());
    assert_eq!(phase, 4);
    nothing(async {
        tokio::select! { _ = first.next() => {}, _ = any.next() => {}, _ = other.next() => {} }
    })
    .await;
}

pub(crate) async fn a_command_waits_for_a_server_to_appear(Setup { bus, .. }: Setup) {
    let command = start(1);
    let asked = bus.command(&Address::Service, &command, LONG);
    let served = async {
        tokio::time::sleep(SHORT).await;
        let mut requests = bus.serve::<StartPhase>(Address::Service).await.unwrap();
        answer(&mut requests).await
    };
    let (asked, phase) = tokio::join!(asked, served);
    assert!(asked.is_ok());
    assert_eq!(phase, 1);
}

pub(crate) async fn a_command_without_an_answer_ends_at_its_deadline(Setup { bus, .. }: Setup) {
    let command = start(1);
    assert_eq!(why(soon(bus.command(&Address::Service, &command, SHORT)).await), Why::NobodyServes);
    let mut requests = bus.serve::<StartPhase>(Address::Service).await.unwrap();
    assert_eq!(why(soon(bus.command(&Address::Service, &command, SHORT)).await), Why::Silent);
    // It reached the server all the same, which can see that nobody waits any more.
    let (_, replier) = soon(requests.next()).await.unwrap().into_parts();
    soon(async {
        while replier.is_awaited() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    replier.reply(Ok(Ack {}));
}

pub(crate) async fn a_server_that_went_away_gets_no_commands(Setup { bus, .. }: Setup) {
    let gone = bus.serve::<StartPhase>(Address::Service).await.unwrap();
    let mut here = bus.serve::<StartPhase>(Address::Service).await.unwrap();
    drop(gone);
    for phase in 0..4 {
        let command = start(phase);
        let (answered, served) =
            tokio::join!(bus.command(&Address::Service, &command, LONG), answer(&mut here));
        assert!(answered.is_ok());
        assert_eq!(served, phase);
    }
    // One that takes a command and then ends leaves its caller without an answer, but not for ever.
    let command = start(9);
    let asked = bus.command(&Address::Service, &command, LONG);
    let ends = async { drop(here.next().await) };
    let (asked, ()) = tokio::join!(soon(asked), ends);
    assert!(matches!(why(asked), Why::Gone | Why::Silent));
}

pub(crate) async fn commands_of_one_caller_arrive_in_order(Setup { bus, .. }: Setup) {
    let mut requests = bus.serve::<StartPhase>(Address::Service).await.unwrap();
    let commands: Vec<_> = (0..20).map(start).collect();
    let asked = async {
        let mut asked: Vec<_> =
            commands.iter().map(|command| Box::pin(bus.command(&Address::Service, command, LONG))).collect();
        std::future::poll_fn(|context| {
            asked.retain_mut(|asked| asked.as_mut().poll(context).is_pending());
            if asked.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    };
    let served = async {
        for phase in 0..20 {
            assert_eq!(answer(&mut requests).await, phase);
        }
    };
    tokio::join!(soon(asked), served);
}
