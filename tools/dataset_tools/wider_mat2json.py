"""Write the official evaluation settings of WIDER FACE (.mat) as one json for WiderFaceMetric."""

import argparse
import sys

from mmdet_ext.evaluation.wider_settings import wider_mat_to_json


def main() -> None:
    """Parse the arguments, convert, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', help='ground_truth of the official eval_tools, with wider_*_val.mat')
    parser.add_argument('-o', '--out', required=True, help='json file to write')
    args = parser.parse_args()
    try:
        counts = wider_mat_to_json(**vars(args))
    except (ValueError, OSError) as error:
        sys.exit(f'error: {error}')
    print(f'{args.out}: {counts}')


if __name__ == '__main__':
    main()
