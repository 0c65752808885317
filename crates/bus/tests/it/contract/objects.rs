use bus::BusError;

use super::*;

pub(crate) async fn an_object_comes_back_under_its_digest(Setup { bus, again }: Setup) {
    let digest = bus.put_object(b"abc").await.unwrap();
    assert_eq!(digest, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(bus.put_object(b"abc").await.unwrap(), digest, "twice is no error");
    let empty = bus.put_object(b"").await.unwrap();
    let large = vec![42; 3 << 20];
    let large_digest = bus.put_object(&large).await.unwrap();
    for bus in [&bus, &again()] {
        assert_eq!(std::fs::read(bus.fetch_object(&digest).await.unwrap()).unwrap(), b"abc");
        assert_eq!(std::fs::read(bus.fetch_object(&empty).await.unwrap()).unwrap(), b"");
        assert_eq!(std::fs::read(bus.fetch_object(&large_digest).await.unwrap()).unwrap(), large);
    }
}

pub(crate) async fn an_object_that_was_never_put_is_named(Setup { bus, .. }: Setup) {
    let digest = format!("sha256:{}", "0".repeat(64));
    match bus.fetch_object(&digest).await {
        Err(BusError::NoObject { digest: named, .. }) => assert_eq!(named, digest),
        result => panic!("{result:?}"),
    }
}

pub(crate) async fn what_is_no_digest_is_refused(Setup { bus, .. }: Setup) {
    let upper = format!("sha256:{}", "A".repeat(64));
    let outside = format!("sha256:../{}", "0".repeat(61));
    for wrong in ["", "abc", "sha256:", "sha256:12", &"0".repeat(64), &upper, &outside] {
        match bus.fetch_object(wrong).await {
            Err(BusError::NotADigest { found }) => assert_eq!(found, wrong),
            result => panic!("{result:?}"),
        }
    }
}
