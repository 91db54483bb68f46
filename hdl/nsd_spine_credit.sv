// The next count of nsd_spine's credits, as logic alone.
//
// A module of its own so that synthesis maps it by itself (APART in sim/synth/flow.py): the gate
// of the handshake then stands before this adder, not wherever the many others that listen to
// the handshake have pulled a shared one.
module nsd_spine_credit #(
    parameter int PTR_W = 7
) (
    input  logic [PTR_W-1:0] credit,
    input  logic             valid,    // the handshake: a beat takes a credit
    input  logic             ready,
    input  logic             returned,
    input  logic             repair,   // add what a check found missing
    input  logic [PTR_W-1:0] missing,
    output logic [PTR_W-1:0] next
);
    assign next = credit + (repair ? missing : '0)
        + (valid && ready ? (returned ? '0 : '1) : PTR_W'(returned));
endmodule
