//! As fast as it can, and at a paced rate, against a bare server on another thread.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use load_worker::spec::Endpoint;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use plan::model::{Arrivals, LoadModel};
use series::Hist;

use crate::get::gets;
use crate::rig::{Rig, closed};
use crate::{Result, number};

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let connections = number(words, 0, 64)?;
    let seconds = number(words, 1, 3)?;
    let rate = f64::from(number(words, 2, 5_000)?);
    let http2 = words.get(3).map(|streams| streams.parse()).transpose()?;
    let addr = match words.get(4) {
        Some(addr) => addr.parse()?,
        None => serve()?,
    };
    let users = connections * http2.unwrap_or(1);
    let rig = Rig::start(Endpoint::plain(addr), http2, gets().into())?;
    let open = LoadModel::Open { start_rate: rate, rate, ramp: Duration::ZERO, arrivals: Arrivals::Even };
    for (number, (name, model)) in (1..).zip([("closed", closed(users)), ("paced", open)]) {
        measure(&rig, number, name, model, seconds, (connections, users))?;
    }
    rig.join();
    Ok(())
}

/// Runs one phase and prints what it cost.
fn measure(
    rig: &Rig,
    number: u32,
    name: &str,
    model: LoadModel,
    seconds: u32,
    (connections, users): (u32, u32),
) -> Result<()> {
    let spec = rig.phase(number, model, Duration::from_secs(seconds.into()), connections, users);
    let end = spec.t0 + spec.duration;
    let before = rig.begin(spec)?;
    rig.wait_until(end)?;
    rig.tell_end(number);
    let (arrivals, after) = rig.ended()?;
    let batch = rig.samples()?;
    let hist = |h: Option<&protocol::v1::Histogram>| h.map(Hist::decode).transpose();
    let lag = hist(batch.threads.first().and_then(|t| t.send_lag.as_ref()))?.ok_or("no lag")?;
    let service = hist(batch.series.first().and_then(|s| s.service.as_ref()))?.ok_or("no service")?;
    let cpu = (after - before).as_secs_f64();
    let (answered, q) = (arrivals.answered as f64, |h: &Hist, q| h.percentile(q).unwrap_or(0));
    println!(
        "{name}: {:.0} req/s, {:.0} req per CPU-second ({cpu:.2} s CPU); send lag p50 {} us, p99 {} us; \
         service p50 {} us, p99 {} us; {arrivals:?}",
        answered / f64::from(seconds),
        answered / cpu,
        q(&lag, 50.0) / 1_000,
        q(&lag, 99.0) / 1_000,
        q(&service, 50.0),
        q(&service, 99.0),
    );
    Ok(())
}

/// Answers whatever it reads with the same 200.
fn serve() -> std::io::Result<SocketAddr> {
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = listener.local_addr()?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    std::thread::spawn(move || -> std::io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut streams: Vec<TcpStream> = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Err(error) = poll.poll(&mut events, None)
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error);
            }
            for event in &events {
                if event.token() == Token(0) {
                    while let Ok((mut stream, _)) = listener.accept() {
                        stream.set_nodelay(true)?;
                        let token = Token(streams.len() + 1);
                        poll.registry().register(&mut stream, token, Interest::READABLE)?;
                        streams.push(stream);
                    }
                } else if let Some(stream) = streams.get_mut(event.token().0 - 1) {
                    while let Ok(read) = stream.read(&mut buffer) {
                        let answer: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world";
                        if read == 0 || stream.write(answer).is_err() {
                            break;
                        }
                    }
                }
            }
        }
    });
    Ok(addr)
}
