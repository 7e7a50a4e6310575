//! The run's token: asked for by everything but health, and seen by nobody.

use node::Security;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{DEADLINE, Running, join_as, serve_with};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn with(token: &str) -> Security {
    Security::default().with_token(token)
}

#[tokio::test]
async fn only_the_right_token_is_let_in() {
    let server = serve_with(&with(TOKEN)).await;
    let longer = format!("{TOKEN}0");
    let last_differs = TOKEN.replace("ef0123456789abcdef", "ef0123456789abcdee");
    for (client, said) in [
        (Security::default(), "no token"),
        (with("another-token-of-a-run"), "another run's token"),
        (with(&longer), "another run's token"),
        (with(&TOKEN[1..]), "another run's token"),
        (with(&last_differs), "another run's token"),
    ] {
        let status = join_as(&server, &client).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().contains(said) && status.message().contains("cluster.token_file"));
    }
    assert_eq!(join_as(&server, &with(TOKEN)).await.unwrap().incarnation, 7);
}

#[tokio::test]
async fn a_server_without_a_token_takes_any() {
    let server = serve_with(&Security::default()).await;
    join_as(&server, &with(TOKEN)).await.unwrap();
}

#[tokio::test]
async fn health_is_told_without_a_token_and_follows_the_process() {
    let server = serve_with(&with(TOKEN)).await;
    let client = Security::default();
    let connection = node::connect(&server.address, &client).unwrap();
    let mut watched =
        HealthClient::new(connection).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut wait_for = async |wanted| {
        let told = async { while watched.message().await.unwrap().unwrap().status() != wanted {} };
        tokio::time::timeout(DEADLINE, told).await.unwrap();
    };
    wait_for(ServingStatus::Serving).await;
    node::health::ready(&server.address, &client, DEADLINE).await.unwrap();
    server.health.set_ready(false);
    wait_for(ServingStatus::NotServing).await;
    let error = node::health::ready(&server.address, &client, DEADLINE).await.unwrap_err();
    assert!(error.to_string().contains("NOT_SERVING"), "{error}");
    server.health.set_ready(true);
    wait_for(ServingStatus::Serving).await;
    server.shutdown.begin();
    wait_for(ServingStatus::NotServing).await;
}

#[tokio::test]
async fn who_is_not_there_is_not_ready() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = node::health::ready(&free.to_string(), &Security::default(), DEADLINE).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains(&free.to_string()) && said.contains("refused"), "{said}");
}

#[tokio::test]
async fn reflection_names_the_services_behind_the_token() {
    async fn services(server: &Running, security: &Security) -> Result<Vec<String>, tonic::Status> {
        let connection = node::connect(&server.address, security).unwrap();
        let request = ServerReflectionRequest {
            message_request: Some(MessageRequest::ListServices(String::new())),
            ..ServerReflectionRequest::default()
        };
        let mut answers = ServerReflectionClient::new(connection)
            .server_reflection_info(tokio_stream::once(request))
            .await?
            .into_inner();
        match answers.message().await?.unwrap().message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => {
                Ok(list.service.into_iter().map(|service| service.name).collect())
            }
            other => panic!("{other:?}"),
        }
    }
    let server = serve_with(&with(TOKEN)).await;
    let refused = services(&server, &Security::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let names = services(&server, &with(TOKEN)).await.unwrap();
    for name in ["mahrl.v1.Control", "mahrl.v1.Replay", "mahrl.v1.Weights", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
}

#[tokio::test]
async fn the_token_is_in_no_debug_output_and_no_error() {
    let security = with(TOKEN);
    let server = serve_with(&security).await;
    let connection = node::connect(&server.address, &security).unwrap();
    let mut bearer_said = format!("{connection:?} {connection:#?} {security:?}");
    let refused = join_as(&server, &with("another-token-of-a-run")).await.unwrap_err();
    bearer_said += &format!("{refused:?} {refused}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = node::health::ready(&free.to_string(), &security, DEADLINE).await.unwrap_err();
    bearer_said += &format!("{away:?} {away}");
    let beyond = node::connect("learner:1", &security).unwrap_err();
    bearer_said += &format!("{beyond:?} {beyond}");
    assert!(!bearer_said.contains(TOKEN) && !bearer_said.contains("another-token"), "{bearer_said}");
}
