//! Clients on HTTP/2 that take nothing, or ask nothing, and answer pings all the while.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;

use crate::fixture::{
    Client, Product, Upstream, blob_path, content, h2_over, h2_with_window, one_upstream, soon, within,
};

fn ask(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://127.0.0.1{path}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn a_stream_whose_window_never_opens_is_reset_and_the_others_go_on() {
    let upstream = Upstream::of_blob(content(8 << 20)).await;
    let product = Product::start(&one_upstream("[timeouts]\nclient_stall = '1s'", upstream.address, "")).await;
    let mut client = h2_with_window(Client::connect(product.address).await.wire, 1000).await;
    let stalled = soon("an answer", client.send_request(ask(&blob_path()))).await.unwrap();
    assert_eq!(stalled.status(), 200);
    within(Duration::from_secs(5), "the upstream to be left", upstream.wait_until_left()).await;
    product.wait_for_line("end=client left").await;
    let ping = soon("another answer", client.send_request(ask("/v2/"))).await.unwrap();
    assert_eq!(soon("its body", ping.into_body().collect()).await.unwrap().to_bytes(), "{}");
    let mut body = stalled.into_body();
    let end = soon("the end of the body", async {
        loop {
            match body.frame().await.expect("an end that is not clean") {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    });
    assert!(format!("{:?}", end.await).contains("CANCEL"), "by RST_STREAM (P-116)");
}

#[tokio::test]
async fn a_connection_without_streams_is_closed_after_client_idle() {
    let upstream = Upstream::of_blob(content(10)).await;
    let product = Product::start(&one_upstream("[timeouts]\nclient_idle = '1s'", upstream.address, "")).await;
    let mut client = h2_over(Client::connect(product.address).await.wire).await;
    let answer = soon("an answer", client.send_request(ask(&blob_path()))).await.unwrap();
    assert_eq!(soon("its body", answer.into_body().collect()).await.unwrap().to_bytes(), content(10));
    let begun = Instant::now();
    within(Duration::from_secs(10), "the end of an idle connection", async {
        while !client.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(begun.elapsed() > Duration::from_millis(800), "{:?}", begun.elapsed());
}
