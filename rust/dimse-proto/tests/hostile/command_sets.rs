//! D: command sets that cannot be read or answered. What can be answered is handed on for that.

use dimse_proto::connection::Role;
use dimse_proto::connection::output::Indication;
use dimse_proto::dimse::Status;
use dimse_proto::ul::State::Sta6;

use super::Case;
use super::support::*;

const CLASS: &[u8] = b"1.2.840.10008.1.1\0";

/// C-ECHO-RQ, element by element.
fn echo() -> Vec<Vec<u8>> {
    vec![
        element(0x0000, [56, 0, 0, 0]),
        element(0x0002, CLASS),
        element(0x0100, [0x30, 0]),
        element(0x0110, [1, 0]),
        element(0x0800, [1, 1]),
    ]
}

fn without(index: usize) -> Vec<Vec<u8>> {
    let mut elements = echo();
    elements.remove(index);
    elements
}

fn with(index: usize, value: Vec<u8>) -> Vec<Vec<u8>> {
    let mut elements = echo();
    elements[index] = value;
    elements
}

fn case(id: &'static str, command: &[Vec<u8>]) -> Case {
    Case::new(id, Sta6, p_data(1, 3, command.concat()))
}

#[track_caller]
fn aborts(id: &'static str, command: &[Vec<u8>], fault: &'static str) {
    case(id, command).aborts(0, 0, fault).holds(8192).check();
}

/// Handed on, and this is what it deserves.
#[track_caller]
fn answerable(id: &'static str, command: &[Vec<u8>], status: u16) {
    case(id, command).tells(&["indicate P-DATA"]).check();
    let mut end = End::reach(Role::Acceptor, Sta6).unwrap();
    end.feed(&p_data(1, 3, command.concat()));
    let Some(Indication::Command { command, .. }) = end.told.last() else {
        panic!("{id}: no command")
    };
    let answer = command.validate().unwrap_err().answer();
    assert_eq!(answer, Some(Status(status)), "{id}");
}

#[test]
fn the_echo_is_v3() {
    assert_eq!(p_data(1, 3, echo().concat()), ECHO_RQ);
    case("-", &echo()).tells(&["indicate P-DATA"]).check();
}

#[test]
fn d01_command_sets_that_cannot_be_read() {
    let whole = echo().concat();
    for cut in 1..whole.len() {
        let fault = match cut {
            // At the end of an element it is only incomplete.
            12 | 38 | 48 | 58 => "command-unusable",
            _ => "truncated",
        };
        aborts("D01", &[whole[..cut].to_vec()], fault);
    }
    let beyond = with(
        4,
        element(0x0800, [1, 1])
            .iter()
            .map(|b| if *b == 2 { 3 } else { *b })
            .collect(),
    );
    aborts("D01", &beyond, "truncated");
    let explicit = b"\0\0\0\0UL\x04\0\x38\0\0\0\0\0\x02\0UI\x12\x001.2.840.10008.1.1\0";
    aborts("D01", &[explicit.to_vec()], "truncated");
    let big_endian = b"\0\0\0\0\0\0\0\x04\0\0\0\x38\0\0\0\x02\0\0\0\x12";
    aborts("D01", &[big_endian.to_vec()], "truncated");
    let undefined = with(1, [&[0, 0, 2, 0, 0xff, 0xff, 0xff, 0xff], CLASS].concat());
    aborts("D01", &undefined, "command-undefined-length");
}

#[test]
fn d02_command_sets_without_what_it_takes() {
    aborts("D02", &[], "command-unusable");
    for index in [2, 3, 4] {
        aborts("D02", &without(index), "command-unusable");
    }
    answerable("D02", &without(1), 0x0122);
    answerable("D02", &with(1, element(0x0002, [])), 0x0122);
    let mut n_get = without(1);
    n_get[1] = element(0x0100, [0x10, 0x01]);
    answerable("D02", &n_get, 0x0118);
}

#[test]
fn d03_and_d04_fields_nobody_knows_and_responses_nobody_asked_for() {
    answerable("D03", &with(2, element(0x0100, [0x77, 0x77])), 0x0211);
    let response = [
        element(0x0100, [0x77, 0xf7]),
        element(0x0120, [1, 0]),
        element(0x0800, [1, 1]),
        element(0x0900, [0, 0]),
    ];
    aborts("D03", &response, "command-unusable");
    // Whether it was asked for, the layer above knows.
    Case::new("D04", Sta6, ECHO_RSP)
        .tells(&["indicate P-DATA"])
        .check();
    aborts(
        "D04",
        &with(2, element(0x0100, [0x30, 0x80])),
        "command-unusable",
    );
}

#[test]
fn d05_values_of_the_wrong_length() {
    for length in [0, 1, 3, 65_001] {
        for (index, number) in [(2, 0x0100), (3, 0x0110), (4, 0x0800)] {
            let wrong = with(index, element(number, vec![0; length]));
            let mut case = case("D05", &wrong);
            case.config.max_length = 131_072;
            case.aborts(0, 0, "command-value-length")
                .holds(8192)
                .check();
        }
    }
    // Of several values the first counts.
    for length in [4, 65_000] {
        for (index, number) in [(2, 0x0100), (3, 0x0110), (4, 0x0800)] {
            let mut values = echo()[index][8..].to_vec();
            values.resize(length, 0xff);
            let several = with(index, element(number, values));
            let mut case = case("D05", &several);
            case.config.max_length = 131_072;
            case.tells(&["indicate P-DATA"]).check();
            let mut case = self::case("D05", &several).strict();
            case.config.max_length = 131_072;
            case.aborts(0, 0, "command-irregular").check();
        }
    }
    for (length, fault) in [
        (65_486, None),
        (65_487, Some("command-too-long")),
        (1 << 20, Some("command-too-long")),
    ] {
        let mut command = echo();
        command[1] = element(0x0002, vec![b'1'; length]);
        let fragments = command.concat();
        let fragments: Vec<_> = fragments.chunks(16_000).collect();
        let (last, before) = fragments.split_last().unwrap();
        let mut wire: Vec<u8> = before.iter().flat_map(|part| p_data(1, 1, part)).collect();
        wire.extend(p_data(1, 3, last));
        let case = Case::new("D05", Sta6, wire).holds(200_000);
        match fault {
            Some(fault) => case.aborts(0, 0, fault).check(),
            None => case.tells(&["indicate P-DATA"]).check(),
        }
    }
}

#[test]
fn d06_elements_twice_out_of_order_or_of_another_group() {
    for index in 1..5 {
        let mut twice = echo();
        twice.push(echo()[index].clone());
        aborts("D06", &twice, "command-duplicate");
        let mut twice = echo();
        twice.insert(0, echo()[index].clone());
        aborts("D06", &twice, "command-duplicate");
    }
    // What an echo has not by the standard is passed over, however often it is there.
    let unknown = element(0x7777, b"what");
    let counter = element(0x1021, [0, 0, 0]);
    let mut foreign = element(0x0058, b"1.2.3.4\0");
    foreign[0] = 8;
    let mut wrong_group = element(0x0002, b"");
    wrong_group[0] = 1;
    for over in [unknown, counter, foreign, wrong_group, echo()[0].clone()] {
        for more in [vec![over.clone()], vec![over.clone(), over.clone()]] {
            let behind = [echo(), more.clone()].concat();
            case("D06", &behind).tells(&["indicate P-DATA"]).check();
            let before = [more, echo()].concat();
            case("D06", &before).tells(&["indicate P-DATA"]).check();
        }
        case("D06", &[echo(), vec![over.clone(), over]].concat())
            .strict()
            .aborts(0, 0, "command-irregular")
            .check();
    }
    for group in [1, 2, 8, 0xff] {
        let mut foreign = echo();
        foreign[1][0] = group;
        answerable("D06", &foreign, 0x0122);
    }
    let mut descending = echo();
    descending.reverse();
    case("D06", &descending).tells(&["indicate P-DATA"]).check();
    case("D06", &descending)
        .strict()
        .aborts(0, 0, "command-disordered")
        .check();
}

#[test]
fn d15_an_echo_with_a_data_set() {
    for kind in [0x0000_u16, 0x0001, 0x0102, 0xffff] {
        let command = with(4, element(0x0800, kind.to_le_bytes()));
        let wire = [p_data(1, 3, command.concat()), p_data(1, 2, b"data")].concat();
        let told = ["indicate P-DATA"; 2];
        Case::new("D15", Sta6, wire).tells(&told).check();
    }
}
