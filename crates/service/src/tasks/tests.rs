use std::convert::Infallible;

use super::*;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_error_shuts_the_service_down_and_is_remembered() {
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let waiting = shutdown.clone();
    tasks.spawn("waiter", OnError::Log, async move {
        waiting.triggered().await;
        Ok::<_, Infallible>(())
    });
    tasks.spawn("writer", OnError::ShutDown, async { Err("disk full") });
    assert_eq!(tasks.finish(LONG).await, Vec::<&str>::new());
    assert_eq!(shutdown.reason().as_deref(), Some("task writer: disk full"));
    assert_eq!(tasks.failures(), [Failure { task: "writer", message: "disk full".to_owned() }]);
}

#[tokio::test]
async fn a_panic_is_an_error() {
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    tasks.spawn("parser", OnError::ShutDown, async {
        tokio::task::yield_now().await;
        let nothing: Option<u8> = None;
        nothing.map(drop).ok_or("").expect("a number");
        Ok::<_, Infallible>(())
    });
    shutdown.triggered().await;
    assert!(tasks.finish(LONG).await.is_empty());
    assert_eq!(shutdown.reason().as_deref(), Some(r#"task parser: panicked: a number: """#));
}

#[tokio::test]
async fn an_error_that_is_only_logged_shuts_nothing_down() {
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    tasks.spawn("probe", OnError::Log, async { Err("refused") });
    assert!(tasks.finish(LONG).await.is_empty());
    assert!(!shutdown.is_triggered());
    assert_eq!(tasks.failures().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn finish_names_and_aborts_what_does_not_end() {
    let tasks = Tasks::new(Shutdown::new());
    let (held, released) = tokio::sync::oneshot::channel::<()>();
    tasks.spawn("stuck", OnError::Log, async move {
        let _held = held;
        std::future::pending::<Result<(), Infallible>>().await
    });
    tasks.spawn("quick", OnError::Log, async { Ok::<_, Infallible>(()) });
    assert_eq!(tasks.finish(Duration::from_millis(10)).await, ["stuck"]);
    // The sender is dropped with the aborted task.
    assert!(released.await.is_err());
    assert!(tasks.finish(LONG).await.is_empty());
}

#[tokio::test]
async fn dropping_the_last_owner_aborts() {
    let tasks = Tasks::new(Shutdown::new());
    let clone = tasks.clone();
    let (held, released) = tokio::sync::oneshot::channel::<()>();
    tasks.spawn("stuck", OnError::Log, async move {
        let _held = held;
        std::future::pending::<Result<(), Infallible>>().await
    });
    drop(tasks);
    assert_eq!(clone.running(), ["stuck"]);
    drop(clone);
    assert!(released.await.is_err());
}
