//! One socket and its channels, case by case.

#![cfg(test)]

use bennu_proto::server::Limits;
use bennu_proto::vsn::Vsn::{V1, V2};

#[path = "driver/script.rs"]
mod script;

use script::{run, run_with};

#[test]
fn joins_and_answers_events() {
    run(
        V2,
        r#"
        -- count 0
        >> ["11","1","room:lobby","phx_join",{}]
        << ["11","1","room:lobby","phx_reply",{"status":"ok","response":{}}]
        -- push room:lobby joined {"id":1}
        << ["11",null,"room:lobby","joined",{"id":1}]
        -- broadcast room:lobby user_entered {"user":null}
        << [null,null,"room:lobby","user_entered",{"user":null}]
        >> ["11","2","room:lobby","new_msg",{"body":"hi!"}]
        << ["11","2","room:lobby","phx_reply",{"status":"ok","response":{"body":"hi!"}}]
        >> ["11","3","room:lobby","silent",{}]
        -- count 1
        >> ["11","4","room:lobby","phx_leave",{}]
        << ["11","4","room:lobby","phx_reply",{"status":"ok","response":{}}]
        << ["11","11","room:lobby","phx_close",{}]
        -- count 0
        >> ["11","5","room:lobby","new_msg",{"body":"Should ignore"}]
        << [null,"5","room:lobby","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        "#,
    );
}

#[test]
fn joins_and_answers_events_in_version_1() {
    run(
        V1,
        r#"
        >> {"topic":"room:lobby","event":"phx_join","payload":{},"ref":"1"}
        << {"topic":"room:lobby","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}
        -- push room:lobby joined {"id":1}
        << {"topic":"room:lobby","event":"joined","payload":{"id":1},"ref":null}
        -- broadcast room:lobby user_entered {"user":null}
        << {"topic":"room:lobby","event":"user_entered","payload":{"user":null},"ref":null}
        >> {"topic":"room:lobby","event":"new_msg","payload":{"body":"hi!"},"ref":"2"}
        << {"topic":"room:lobby","event":"phx_reply","payload":{"status":"ok","response":{"body":"hi!"}},"ref":"2"}
        >> {"topic":"room:lobby","event":"phx_leave","payload":{},"ref":"4"}
        << {"topic":"room:lobby","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"4"}
        << {"topic":"room:lobby","event":"phx_close","payload":{},"ref":null}
        >> {"topic":"room:lobby","event":"new_msg","payload":{},"ref":"5"}
        << {"topic":"room:lobby","event":"phx_reply","payload":{"status":"error","response":{"reason":"unmatched topic"}},"ref":"5"}
        "#,
    );
}

#[test]
fn a_version_1_client_with_join_refs() {
    run(
        V1,
        r#"
        >> {"topic":"room:a","event":"phx_join","payload":{},"ref":"1","join_ref":"1"}
        << {"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}
        >> {"topic":"room:a","event":"echo","payload":{},"ref":"2","join_ref":"0"}
        >> {"topic":"room:a","event":"echo","payload":3,"ref":3,"join_ref":"1"}
        << {"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":3},"ref":3}
        >> {"topic":"room:a","event":"stop","payload":{},"ref":"4","join_ref":"1"}
        << {"topic":"room:a","event":"phx_close","payload":{},"ref":"1"}
        "#,
    );
}

#[test]
fn a_refused_join_leaves_the_topic_unjoined() {
    run(
        V2,
        r#"
        -- joins refuse {"reason":"unauthorized"}
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"error","response":{"reason":"unauthorized"}}]
        -- count 0
        >> ["1","2","room:a","echo",{}]
        << [null,"2","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        -- joins refuse hex 44 41
        >> ["1","4","room:a","phx_join",{}]
        << hex 01 01 01 06 05  31 34 72 6f 6f 6d 3a 61 65 72 72 6f 72  44 41
        "#,
    );
}

#[test]
fn a_crashed_join_says_no_more_than_that() {
    run(
        V2,
        r#"
        -- joins crash
        >> [null,"1","room:a","phx_join",{}]
        << [null,"1","room:a","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
        -- count 0
        "#,
    );
}

#[test]
fn a_join_reply_that_the_version_cannot_carry_crashes_the_join() {
    run(
        V1,
        r#"
        -- joins ok hex 44 41
        >> {"topic":"room:a","event":"phx_join","payload":{},"ref":"1"}
        << {"topic":"room:a","event":"phx_reply","payload":{"status":"error","response":{"reason":"join crashed"}},"ref":"1"}
        -- count 0
        "#,
    );
}

#[test]
fn unmatched_topic_on_join_and_on_event() {
    run(
        V2,
        r#"
        >> ["11","1","bogus:lobby","phx_join",{}]
        << [null,"1","bogus:lobby","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> ["11","2","room:never","echo",{}]
        << [null,"2","room:never","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> [null,null,"Room:a","phx_join",{}]
        << [null,null,"Room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> ["1","3","","phx_join",{}]
        << [null,"3","","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> ["1","4","room:","phx_join",{}]
        << ["1","4","room:","phx_reply",{"status":"ok","response":{}}]
        "#,
    );
}

#[test]
fn a_duplicate_join_is_answered_before_the_old_channel_is_closed() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        -- joins wait
        >> ["2","2","room:a","phx_join",{}]
        -- count 1
        -- decide room:a ok {"fresh":true}
        << ["2","2","room:a","phx_reply",{"status":"ok","response":{"fresh":true}}]
        << ["1","1","room:a","phx_close",{}]
        -- push room:a later {}
        << ["2",null,"room:a","later",{}]
        >> ["1","3","room:a","echo",{}]
        >> ["2","4","room:a","echo",{}]
        << ["2","4","room:a","phx_reply",{"status":"ok","response":{}}]
        "#,
    );
}

#[test]
fn a_duplicate_join_with_the_same_join_ref() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        "#,
    );
}

#[test]
fn a_duplicate_join_that_fails_closes_the_old_channel_all_the_same() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        -- joins refuse {}
        >> ["2","2","room:a","phx_join",{}]
        << ["2","2","room:a","phx_reply",{"status":"error","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        -- joins ok
        >> ["3","3","room:a","phx_join",{}]
        << ["3","3","room:a","phx_reply",{"status":"ok","response":{}}]
        -- joins crash
        >> ["4","4","room:a","phx_join",{}]
        << ["4","4","room:a","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
        << ["3","3","room:a","phx_close",{}]
        -- count 0
        "#,
    );
}

#[test]
fn a_duplicate_join_while_the_old_channel_is_leaving() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        -- busy room:a
        >> ["1","2","room:a","phx_leave",{}]
        -- count 1
        >> ["3","3","room:a","phx_join",{}]
        << ["3","3","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        >> ["3","4","room:a","echo",{}]
        << ["3","4","room:a","phx_reply",{"status":"ok","response":{}}]
        "#,
    );
}

#[test]
fn a_duplicate_join_while_the_first_is_still_joining() {
    run(
        V2,
        r#"
        -- joins wait
        >> ["1","1","room:a","phx_join",{}]
        >> ["2","2","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"error","response":{"reason":"replaced by a newer join"}}]
        -- count 1
        -- decide room:a ok {}
        << ["2","2","room:a","phx_reply",{"status":"ok","response":{}}]
        "#,
    );
}

#[test]
fn a_chain_of_joins_closes_what_was_joined_once() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        -- joins wait
        >> ["2","2","room:a","phx_join",{}]
        >> ["3","3","room:a","phx_join",{}]
        << ["2","2","room:a","phx_reply",{"status":"error","response":{"reason":"replaced by a newer join"}}]
        -- decide room:a refuse {"reason":"no"}
        << ["3","3","room:a","phx_reply",{"status":"error","response":{"reason":"no"}}]
        << ["1","1","room:a","phx_close",{}]
        -- count 0
        "#,
    );
}

#[test]
fn a_duplicate_join_without_join_refs() {
    run(
        V1,
        r#"
        >> {"topic":"room:a","event":"phx_join","payload":{},"ref":"1"}
        << {"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}
        >> {"topic":"room:a","event":"phx_join","payload":{},"ref":"2"}
        << {"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"2"}
        << {"topic":"room:a","event":"phx_close","payload":{},"ref":null}
        "#,
    );
}

#[test]
fn joins_of_different_topics_do_not_wait_for_each_other() {
    run(
        V2,
        r#"
        -- joins wait
        >> ["1","1","room:slow","phx_join",{}]
        >> [null,"2","phoenix","heartbeat",{}]
        << [null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]
        -- joins ok
        >> ["3","3","room:fast","phx_join",{}]
        << ["3","3","room:fast","phx_reply",{"status":"ok","response":{}}]
        >> ["3","4","room:fast","echo",{}]
        << ["3","4","room:fast","phx_reply",{"status":"ok","response":{}}]
        -- decide room:slow ok {}
        << ["1","1","room:slow","phx_reply",{"status":"ok","response":{}}]
        "#,
    );
}

#[test]
fn messages_wait_for_the_join_of_their_topic() {
    run(
        V2,
        r#"
        -- joins wait
        >> ["1","1","room:a","phx_join",{}]
        >> ["1","2","room:a","echo",{"n":2}]
        >> ["1","3","room:a","phx_leave",{}]
        >> ["1","4","room:a","echo",{}]
        -- decide room:a ok {}
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","2","room:a","phx_reply",{"status":"ok","response":{"n":2}}]
        << ["1","3","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        "#,
    );
}

#[test]
fn messages_that_waited_for_a_join_that_failed_are_answered() {
    run(
        V2,
        r#"
        -- joins wait
        >> ["1","1","room:a","phx_join",{}]
        >> ["1","2","room:a","echo",{}]
        >> ["1","3","room:a","phx_leave",{}]
        -- decide room:a refuse {"reason":"no"}
        << ["1","1","room:a","phx_reply",{"status":"error","response":{"reason":"no"}}]
        << [null,"2","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        << ["1","3","room:a","phx_reply",{"status":"ok","response":{}}]
        "#,
    );
}

#[test]
fn a_join_that_timed_out_at_the_client_is_left_and_joined_again() {
    run(
        V2,
        r#"
        -- joins wait
        >> ["1","1","room:a","phx_join",{}]
        >> ["1","2","room:a","phx_leave",{}]
        >> ["3","3","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"error","response":{"reason":"replaced by a newer join"}}]
        -- decide room:a ok {}
        << ["3","3","room:a","phx_reply",{"status":"ok","response":{}}]
        -- count 1
        "#,
    );
}

#[test]
fn a_stale_join_ref_is_dropped_in_silence() {
    run(
        V2,
        r#"
        >> ["2","2","room:a","phx_join",{}]
        << ["2","2","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["1","3","room:a","echo",{}]
        >> ["1","4","room:a","phx_leave",{}]
        >> ["3","5","room:a","stop",{}]
        -- count 1
        >> [null,"6","room:b","phx_join",{}]
        << [null,"6","room:b","phx_reply",{"status":"ok","response":{}}]
        >> ["6","7","room:b","echo",{}]
        >> ["6","8","room:b","phx_leave",{}]
        -- count 2
        "#,
    );
}

#[test]
fn a_null_join_ref_means_whatever_is_joined() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        >> [null,"2","room:a","echo",{}]
        << ["1","2","room:a","phx_reply",{"status":"ok","response":{}}]
        >> [null,"3","room:a","phx_leave",{}]
        << ["1","3","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        "#,
    );
}

#[test]
fn a_number_is_not_a_string() {
    run(
        V2,
        r#"
        >> [1,1,"room:a","phx_join",{}]
        << [1,1,"room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["1",2,"room:a","echo",{}]
        >> [1.0,3,"room:a","echo",{}]
        >> [1,4.5,"room:a","echo",{}]
        << [1,4.5,"room:a","phx_reply",{"status":"ok","response":{}}]
        >> [1,{"id":[true]},"room:a","echo",{}]
        << [1,{"id":[true]},"room:a","phx_reply",{"status":"ok","response":{}}]
        -- push room:a bin hex 44
        << hex 00 01 06 03  31 72 6f 6f 6d 3a 61 62 69 6e  44
        -- close room:a
        << [1,1,"room:a","phx_close",{}]
        "#,
    );
}

#[test]
fn the_empty_join_ref_of_a_binary_message_is_not_null() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        >> hex 00 00 01 06 03  35 72 6f 6f 6d 3a 61 62 69 6e  01
        >> hex 00 01 01 06 03  31 35 72 6f 6f 6d 3a 61 62 69 6e  01 02 ff
        << hex 01 01 01 06 02  31 35 72 6f 6f 6d 3a 61 6f 6b  01 02 ff
        >> hex 00 00 01 06 08  36 72 6f 6f 6d 3a 62 70 68 78 5f 6a 6f 69 6e  44
        << ["","6","room:b","phx_reply",{"status":"ok","response":{}}]
        >> hex 00 00 01 06 03  37 72 6f 6f 6d 3a 62 62 69 6e
        << hex 01 00 01 06 02  37 72 6f 6f 6d 3a 62 6f 6b
        >> ["","8","room:b","phx_leave",{}]
        << ["","8","room:b","phx_reply",{"status":"ok","response":{}}]
        << ["","","room:b","phx_close",{}]
        "#,
    );
}

#[test]
fn leaving_twice_is_answered_once_by_the_channel() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        -- busy room:a
        >> ["1","2","room:a","phx_leave",{}]
        >> ["1","3","room:a","phx_leave",{}]
        >> ["1","4","room:a","echo",{}]
        -- resume room:a
        << ["1","2","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        >> ["1","5","room:a","phx_leave",{}]
        << ["1","5","room:a","phx_reply",{"status":"ok","response":{}}]
        "#,
    );
}

#[test]
fn leaving_an_unknown_topic_is_fine() {
    run(
        V2,
        r#"
        >> ["1","2","room:a","phx_leave",{}]
        << ["1","2","room:a","phx_reply",{"status":"ok","response":{}}]
        >> [null,"3","nomatch","phx_leave",{}]
        << [null,"3","nomatch","phx_reply",{"status":"ok","response":{}}]
        >> ["1","4",{"a":[5]},"phx_leave",{}]
        << ["1","4",{"a":[5]},"phx_reply",{"status":"ok","response":{}}]
        "#,
    );
}

#[test]
fn a_leave_waits_behind_what_the_channel_is_doing() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        -- busy room:a
        >> ["1","2","room:a","echo",{"n":1}]
        >> ["1","3","room:a","phx_leave",{}]
        -- push room:a working {}
        << ["1",null,"room:a","working",{}]
        -- resume room:a
        << ["1","2","room:a","phx_reply",{"status":"ok","response":{"n":1}}]
        << ["1","3","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        "#,
    );
}

#[test]
fn a_leave_that_a_rejoin_overtakes_is_never_answered() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        -- busy room:a
        >> ["1","2","room:a","phx_leave",{}]
        >> ["3","3","room:a","phx_join",{}]
        << ["3","3","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        >> ["3","4","room:a","phx_leave",{}]
        << ["3","4","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["3","3","room:a","phx_close",{}]
        "#,
    );
}

#[test]
fn a_channel_closes_itself() {
    run(
        V2,
        r#"
        -- terminate bye
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        -- close room:a
        << ["1","1","room:a","phx_close",{}]
        << ["1",null,"room:a","bye",{}]
        -- count 0
        "#,
    );
}

#[test]
fn a_channel_that_crashes_sends_phx_error_with_channel_crash() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        -- crash room:a
        << ["1","1","room:a","phx_error",{"reason":"channel_crash"}]
        >> [null,"2","room:a","phx_join",{}]
        << [null,"2","room:a","phx_reply",{"status":"ok","response":{}}]
        -- crash room:a
        << [null,null,"room:a","phx_error",{"reason":"channel_crash"}]
        -- count 0
        "#,
    );
    run(
        V1,
        r#"
        >> {"topic":"room:a","event":"phx_join","payload":{},"ref":"1"}
        << {"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}
        >> {"topic":"room:a","event":"crash","payload":{},"ref":"2"}
        << {"topic":"room:a","event":"phx_error","payload":{"reason":"channel_crash"},"ref":null}
        "#,
    );
}

#[test]
fn a_join_reply_that_a_binary_frame_cannot_carry_crashes_the_join() {
    // A join reference that text carries and a binary reply does not.
    let long = "9".repeat(256);
    let script = format!(
        r#"
        >> ["{long}","1","room:a","phx_join",{{}}]
        << ["{long}","1","room:a","phx_reply",{{"status":"ok","response":{{}}}}]
        >> [null,"{long}","room:a","echo",{{}}]
        << ["{long}","{long}","room:a","phx_reply",{{"status":"ok","response":{{}}}}]
        -- joins ok hex 44
        >> ["{long}","2","room:b","phx_join",{{}}]
        << ["{long}","2","room:b","phx_reply",{{"status":"error","response":{{"reason":"join crashed"}}}}]
        -- count 1
        "#
    );
    run(V2, &script);
}

#[test]
fn a_heartbeat_is_answered_whatever_else_is_going_on() {
    run(
        V2,
        r#"
        >> ["9",null,"phoenix","heartbeat",null]
        << [null,null,"phoenix","phx_reply",{"status":"ok","response":{}}]
        >> [1,2,"phoenix","heartbeat",{}]
        << [null,2,"phoenix","phx_reply",{"status":"ok","response":{}}]
        >> [null,"3","phoenix","phx_join",{}]
        << [null,"3","phoenix","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> [null,"4","room:a","heartbeat",{}]
        << [null,"4","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> hex 00 00 01 07 09  35 70 68 6f 65 6e 69 78 68 65 61 72 74 62 65 61 74
        << [null,"5","phoenix","phx_reply",{"status":"ok","response":{}}]
        "#,
    );
    run(
        V1,
        r#"
        >> {"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}
        << {"topic":"phoenix","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}
        "#,
    );
}

#[test]
fn too_many_channels_joined() {
    let limits = Limits {
        joins_max: 1,
        ..Limits::default()
    };
    run_with(
        V2,
        limits,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["2","7","room:b","phx_join",{}]
        << ["2","7","room:b","phx_reply",{"status":"error","response":{"reason":"too many channels joined"}}]
        >> ["3","3","room:a","phx_join",{}]
        << ["3","3","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        -- busy room:a
        >> ["3","4","room:a","phx_leave",{}]
        >> [null,"5","room:b","phx_join",{}]
        << [null,"5","room:b","phx_reply",{"status":"error","response":{"reason":"too many channels joined"}}]
        -- resume room:a
        << ["3","4","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["3","3","room:a","phx_close",{}]
        >> ["6","6","room:b","phx_join",{}]
        << ["6","6","room:b","phx_reply",{"status":"ok","response":{}}]
        "#,
    );
}

#[test]
fn the_hundred_and_first_join_is_refused_with_its_own_ref() {
    let mut script = String::new();
    for n in 1..=100 {
        script += &format!(">> [\"{n}\",\"{n}\",\"room:{n}\",\"phx_join\",{{}}]\n");
        script += &format!(
            "<< [\"{n}\",\"{n}\",\"room:{n}\",\"phx_reply\",{{\"status\":\"ok\",\"response\":{{}}}}]\n"
        );
    }
    script += r#">> ["101","101","room:101","phx_join",{}]
        << ["101","101","room:101","phx_reply",{"status":"error","response":{"reason":"too many channels joined"}}]
        -- count 100"#;
    run(V2, &script);
}

#[test]
fn a_topic_beyond_the_limit_is_refused_at_join() {
    let limits = Limits {
        topic_bytes_max: 6,
        ..Limits::default()
    };
    run_with(
        V2,
        limits,
        r#"
        >> ["1","1","room:aa","phx_join",{}]
        << ["1","1","room:aa","phx_reply",{"status":"error","response":{"reason":"topic too long"}}]
        >> ["2","2","room:a","phx_join",{}]
        << ["2","2","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["3","3","nomatch!","phx_join",{}]
        << [null,"3","nomatch!","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        "#,
    );
}

#[test]
fn a_topic_or_an_event_that_is_not_text() {
    run(
        V2,
        r#"
        >> ["1","1",5,"phx_join",{}]
        << [null,"1",5,"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> ["1","2",null,"echo",{}]
        << [null,"2",null,"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> ["1","3",["room:a"],7,{}]
        << [null,"3",["room:a"],"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> ["1","4","room:a",["phx_join"],{}]
        << [null,"4","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> ["1","5","room:a","phx_join",null]
        << ["1","5","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["1","6","room:a",7,{}]
        << ["1","6","room:a","phx_reply",{"status":"error","response":{"reason":"unknown event"}}]
        "#,
    );
}

#[test]
fn events_of_the_protocol_are_plain_events_from_a_client() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["1","2","room:a","phx_close",{}]
        << ["1","2","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["1","3","room:a","phx_reply",{"status":"ok"}]
        << ["1","3","room:a","phx_reply",{"status":"ok","response":{"status":"ok"}}]
        >> ["1","4","room:a","phx_error",{}]
        << ["1","4","room:a","phx_reply",{"status":"ok","response":{}}]
        -- broadcast room:a phx_close {}
        << [null,null,"room:a","phx_close",{}]
        -- count 1
        "#,
    );
}

#[test]
fn what_is_no_message_leaves_the_machine_as_it_was() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        >< ["1","2","room:a","phx_leave"]
        >< hex 01 00 00 00 00
        -- count 1
        "#,
    );
}

#[test]
fn names_that_need_escapes_come_back_as_they_went() {
    run(
        V2,
        r#"
        >> ["1","\"\\","room:\"\\\n\u0001é","phx_join",{}]
        << ["1","\"\\","room:\"\\\n\u0001é","phx_reply",{"status":"ok","response":{}}]
        "#,
    );
}

#[test]
fn a_machine_that_moved_has_the_same_future() {
    run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        >> [2,2,"room:b","phx_join",{}]
        << [2,2,"room:b","phx_reply",{"status":"ok","response":{}}]
        >> [null,"3","room:c","phx_join",{}]
        << [null,"3","room:c","phx_reply",{"status":"ok","response":{}}]
        -- busy room:b
        >> [2,"4","room:b","phx_leave",{}]
        -- joins wait
        >> ["5","5","room:a","phx_join",{}]
        >> ["6","6","room:d","phx_join",{}]
        >> ["7","7","room:c","phx_join",{}]
        -- move
        -- count 4
        >> ["8","8","room:a","phx_join",{}]
        << ["5","5","room:a","phx_reply",{"status":"error","response":{"reason":"replaced by a newer join"}}]
        -- move
        -- decide room:a ok {}
        << ["8","8","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        -- decide room:c crash
        << ["7","7","room:c","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
        << [null,null,"room:c","phx_close",{}]
        -- resume room:b
        << [2,"4","room:b","phx_reply",{"status":"ok","response":{}}]
        << [2,2,"room:b","phx_close",{}]
        -- decide room:d refuse {"reason":"no"}
        << ["6","6","room:d","phx_reply",{"status":"error","response":{"reason":"no"}}]
        -- joins ok
        >> ["9","9","room:b","phx_join",{}]
        << ["9","9","room:b","phx_reply",{"status":"ok","response":{}}]
        -- count 2
        "#,
    );
}
