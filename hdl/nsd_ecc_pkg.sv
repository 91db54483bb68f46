// The SECDED code of every memory of the block: 8 check bits over up to 120 data bits.
//
// Hsiao, "A Class of Optimal Minimum Odd-weight-column SEC-DED Codes", IBM J. R&D 14 (1970):
// every column of the parity-check matrix has odd weight, so one wrong bit gives a syndrome of
// odd weight and two give an even one that is never zero. Check bit j has column 1 << j; data
// bits take the columns of weight 3, then 5, then 7, each in ascending value (56 + 56 + 8).
// The all-zero word is a valid word: an erased memory is free of errors.
package nsd_ecc_pkg;

    localparam int ECC_CHECK_W = 8;
    localparam int ECC_DATA_MAX = 120;

    // The column of data bit `bit_index` (0 to 119).
    function automatic logic [7:0] ecc_column(input int bit_index);
        int seen;
        logic [7:0] column;
        seen = 0;
        column = '0;
        for (int weight = 3; weight <= 7; weight += 2) begin
            for (int value = 0; value < 256; value++) begin
                if ($countones(8'(value)) == weight) begin
                    if (seen == bit_index) column = 8'(value);
                    seen++;
                end
            end
        end
        return column;
    endfunction

endpackage
